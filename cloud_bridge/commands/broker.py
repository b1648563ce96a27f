"""`lookout-cloud broker settings | certificate | bridge`: what mosquitto and bridges are given."""

import argparse
import json
from pathlib import Path, PurePosixPath

from cloud_bridge.commands.options import whole_number
from cloud_bridge.commands.screen import say
from cloud_bridge.commands.trust_options import (
    MQTTS_PORT,
    Subparsers,
    add_also_trust,
    add_ca_dir,
    add_days,
    add_force,
    add_json,
    add_output,
    checked,
    install_dir,
    life,
    open_authority,
    port,
)
from cloud_bridge.errors import ConfigError, ExitCode
from cloud_bridge.trust.authority import Authority, other_authorities
from cloud_bridge.trust.broker_settings import (
    LIMITS,
    REVOKED,
    RULES,
    SETTINGS,
    Registries,
    access_rules,
    mosquitto_settings,
    rate_limits,
)
from cloud_bridge.trust.files import PRIVATE, PUBLIC, write_files
from cloud_bridge.trust.handout import refuse_existing, write_login
from cloud_bridge.trust.ledger import Entry
from cloud_bridge.trust.names import check_bridge, check_host, check_registry

BROKER_DAYS_HELP = "names or addresses by which boxes and bridges call the broker"
MAX_CONNECTIONS = 256


def add_to(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "broker", help="make mosquitto's settings, rules and certificate"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_settings(actions)
    certificate = actions.add_parser(
        "certificate",
        help="make the broker's key and certificate",
        description="Makes the broker's key and certificate; the earlier one counts on.",
    )
    certificate.add_argument(
        "hosts", metavar="HOST", nargs="+", type=checked(check_host), help=BROKER_DAYS_HELP
    )
    _add_making(certificate, "broker")
    certificate.set_defaults(run=run_certificate)
    bridge = actions.add_parser(
        "bridge",
        help="make a bridge's key and certificate",
        description=(
            "Makes a bridge's key and certificate; each process wants a name of its own, and "
            "`broker settings` must be made again for a new name."
        ),
    )
    bridge.add_argument(
        "name", metavar="NAME", type=checked(check_bridge), help="such as bridge-home"
    )
    _add_making(bridge, "one with the bridge's name")
    bridge.set_defaults(run=run_bridge)


def _add_settings(actions: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "settings",
        help="make mosquitto's settings and access rules",
        description=(
            "Writes mosquitto's settings, its access rules, the authority's certificate and the "
            "revocation list into a folder. Several registries: again after each `device add`."
        ),
    )
    parser.add_argument(
        "--registry",
        type=checked(check_registry),
        action="append",
        default=[],
        help="group of boxes that may use the broker; may be repeated (default: those that boxes "
        "were added to)",
    )
    parser.add_argument(
        "--bridge",
        type=checked(check_bridge),
        action="append",
        default=[],
        metavar="NAME",
        help="a bridge beside those that have a certificate; may be repeated",
    )
    parser.add_argument(
        "--port", type=port, default=MQTTS_PORT, help="to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--max-connections",
        type=whole_number(2, 65535, "how many, 2 to 65535"),
        default=MAX_CONNECTIONS,
        metavar="N",
        help="boxes, bridges and strangers at once (default: %(default)s)",
    )
    parser.add_argument(
        "--install-dir",
        type=install_dir,
        default=PurePosixPath("/etc/mosquitto/lookout"),
        metavar="DIR",
        help="where the files will lie for mosquitto (default: %(default)s)",
    )
    add_ca_dir(parser)
    add_output(parser, "broker")
    add_also_trust(parser)
    add_json(parser)
    parser.set_defaults(run=run_settings)


def _add_making(parser: argparse.ArgumentParser, default: str) -> None:
    add_ca_dir(parser)
    add_output(parser, default)
    add_days(parser)
    add_also_trust(parser)
    add_force(parser, "replace key and certificate that the folder holds already")
    add_json(parser)


def run_settings(arguments: argparse.Namespace) -> int:
    folder = arguments.output or Path("broker")
    certificates, lists = other_authorities(arguments.also_trust)
    with open_authority(arguments, may_make=False) as authority:
        registries = _registries(arguments, authority)
        installed = arguments.install_dir
        write_files(
            folder,
            {
                SETTINGS: (
                    mosquitto_settings(
                        installed, arguments.port, arguments.max_connections
                    ).encode(),
                    PUBLIC,
                ),
                RULES: (access_rules(registries).encode(), PRIVATE),
                LIMITS: (rate_limits(arguments.port).encode(), PUBLIC),
                "ca.crt": (b"".join([authority.certificate, *certificates]), PUBLIC),
                REVOKED: (b"".join([authority.revocations(), *lists]), PUBLIC),
            },
        )
    _tell_settings(arguments, registries, folder)
    return ExitCode.OK


def run_certificate(arguments: argparse.Namespace) -> int:
    hosts = list(dict.fromkeys(arguments.hosts))
    folder = arguments.output or Path("broker")
    return _make(arguments, folder, "broker", hosts[0], hosts)


def run_bridge(arguments: argparse.Namespace) -> int:
    folder = arguments.output or Path(arguments.name)
    return _make(arguments, folder, "bridge", arguments.name, [])


def _make(
    arguments: argparse.Namespace, folder: Path, role: str, name: str, hosts: list[str]
) -> int:
    certificates, _ = other_authorities(arguments.also_trust)
    if not arguments.force:
        refuse_existing(folder, role)
    with open_authority(arguments, may_make=True) as authority:
        pair, entry = authority.issue(
            name, "broker" if role == "broker" else "bridge", life(arguments), hosts=hosts
        )
        write_login(folder, role, pair, [authority.certificate, *certificates])
        if arguments.json:
            say(json.dumps(_as_json(entry) | {"folder": str(folder)}))
        else:
            if authority.is_new:
                say(f"new certificate authority in {authority.folder}: keep a copy in a safe place")
            say(f"{folder}: {name}'s key and certificate, until {entry.not_after:%Y-%m-%d}")
    return ExitCode.OK


def _registries(arguments: argparse.Namespace, authority: Authority) -> Registries:
    now, ledger = authority.now, authority.ledger
    devices: dict[str, list[str]] = {}
    for name in ledger.names("device", now):
        registry = ledger.registry_of(name)
        if registry is not None:
            devices.setdefault(registry, []).append(name)
    names = sorted(set(arguments.registry or devices))
    if not names:
        raise ConfigError(
            f"no registry named, and {authority.folder} has no boxes; want --registry NAME"
        )
    bridges = sorted({*ledger.names("bridge", now), *arguments.bridge})
    return Registries(names=names, bridges=bridges, devices=devices)


def _tell_settings(arguments: argparse.Namespace, registries: Registries, folder: Path) -> None:
    has_key = (folder / "broker.key").exists()
    if arguments.json:
        say(
            json.dumps(
                {
                    "folder": str(folder),
                    "registries": list(registries.names),
                    "bridges": list(registries.bridges),
                    "has_certificate": has_key,
                }
            )
        )
        return
    say(f"{folder}: mosquitto's settings for {', '.join(registries.names)}")
    if not registries.bridges:
        say("no bridge may read yet: lookout-cloud broker bridge bridge-home, then this again")
    if not has_key:
        say("no certificate yet: lookout-cloud broker certificate HOST")
    if not registries.are_alone:
        say("of several registries each box has rules: make them again after `device add`")
    say(f"copy the folder to {arguments.install_dir}: docs/mosquitto.md")


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "role": entry.role,
        "not_after": entry.not_after.isoformat(),
        "serial": entry.serial,
    }
