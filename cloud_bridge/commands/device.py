"""`lookout-cloud device add | renew | revoke | list`: who may speak to the broker as a box."""

import argparse
import json
from pathlib import Path, PurePosixPath
from threading import Event

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
from cloud_bridge.trust.broker_settings import REVOKED
from cloud_bridge.trust.handout import SETTINGS, DeviceSettings, refuse_existing, write_login
from cloud_bridge.trust.knock import Door
from cloud_bridge.trust.ledger import Entry
from cloud_bridge.trust.names import check_device, check_host, check_registry
from cloud_bridge.trust.revoking import (
    check_broker,
    check_list,
    evict,
    install_list,
    reload_broker,
    revoke,
    role_of,
    to_revoke,
)

REGISTRY = "home"
DAY = "%Y-%m-%d"


def add_to(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("device", help="give boxes certificates, and take them back")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_add(actions)
    _add_renew(actions)
    _add_revoke(actions)
    listing = actions.add_parser("list", help="say who has which certificate, and until when")
    add_ca_dir(listing)
    add_json(listing)
    listing.set_defaults(run=run_list)


def _add_add(actions: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "add",
        help="make a box's key, certificate and settings file",
        description=(
            "Makes a box's key, certificate and settings file in a folder, to be copied to the "
            "box. Makes the certificate authority where there is none yet."
        ),
    )
    _add_name(parser)
    parser.add_argument(
        "--registry",
        type=checked(check_registry),
        default=REGISTRY,
        help="group of boxes that it belongs to (default: %(default)s)",
    )
    parser.add_argument(
        "--broker",
        type=checked(check_host),
        default="127.0.0.1",
        metavar="HOST",
        help="the broker's name, as in its certificate (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=port, default=MQTTS_PORT, help="of the broker (default: %(default)s)"
    )
    parser.add_argument(
        "--delivery",
        choices=("receipts", "broker"),
        default="receipts",
        help="what counts as arrival: a bridge's receipt, or the broker's word, which may be lost "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--install-dir",
        type=install_dir,
        default=PurePosixPath("/etc/lookout"),
        metavar="DIR",
        help="where the files will lie on the box (default: %(default)s)",
    )
    _add_making(parser)
    add_force(parser, "although the name has a certificate, or the folder holds one already")
    parser.set_defaults(run=run_add)


def _add_renew(actions: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "renew",
        help="make a new key and certificate; the old one counts until it is revoked",
        description=(
            "Makes a new key and certificate. The old certificate counts on, until it ends or "
            "`device revoke NAME --old` takes it back: so the box is never without one."
        ),
    )
    _add_name(parser)
    _add_making(parser)
    parser.set_defaults(run=run_renew)


def _add_revoke(actions: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "revoke",
        help="take a box's or a bridge's certificates back",
        description=(
            "Takes every certificate of NAME back: writes the revocation list and, where it is "
            "told to, puts it into the broker's folder, lets the broker read it, and ends NAME's "
            "session. May be repeated."
        ),
    )
    parser.add_argument("name", metavar="NAME", help="of a box, a bridge, or the broker's host")
    parser.add_argument("--old", action="store_true", help="all but the newest, after a renewal")
    parser.add_argument(
        "--role",
        choices=("device", "bridge", "broker"),
        help="whom NAME means, where a box is called as the broker's host is",
    )
    add_ca_dir(parser)
    add_also_trust(parser)
    parser.add_argument(
        "--broker-dir",
        type=Path,
        metavar="DIR",
        help="the broker's folder; its crl.pem is replaced",
    )
    parser.add_argument(
        "--pid-file", type=Path, metavar="FILE", help="mosquitto's; it is told to read the list"
    )
    parser.add_argument(
        "--broker",
        type=checked(check_host),
        metavar="HOST",
        help="prove that the broker has read the list, and end NAME's session there",
    )
    parser.add_argument(
        "--port", type=port, default=MQTTS_PORT, help="of the broker (default: %(default)s)"
    )
    add_json(parser)
    parser.set_defaults(run=run_revoke)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", type=checked(check_device), help="of the box")


def _add_making(parser: argparse.ArgumentParser) -> None:
    add_ca_dir(parser)
    add_output(parser, "one with the box's name")
    add_days(parser)
    add_also_trust(parser)
    add_json(parser)


def run_add(arguments: argparse.Namespace) -> int:
    name, folder = arguments.name, arguments.output or Path(arguments.name)
    certificates, _ = other_authorities(arguments.also_trust)
    if not arguments.force:
        refuse_existing(folder, "device", SETTINGS)
    with open_authority(arguments, may_make=True) as authority:
        _refuse_taken(authority, name, arguments.registry, is_forced=arguments.force)
        settings = DeviceSettings(
            name=name,
            registry=arguments.registry,
            host=arguments.broker,
            port=arguments.port,
            delivery=arguments.delivery,
            installed_in=arguments.install_dir,
        )
        pair, entry = authority.issue(name, "device", life(arguments), registry=arguments.registry)
        trusted = [authority.certificate, *certificates]
        write_login(folder, "device", pair, trusted, settings.text())
        _tell_made(arguments, authority, entry, folder)
        if not arguments.json:
            say(f"copy the folder's files to {arguments.install_dir} on the box; the key to nobody")
    return ExitCode.OK


def run_renew(arguments: argparse.Namespace) -> int:
    name, folder = arguments.name, arguments.output or Path(arguments.name)
    certificates, _ = other_authorities(arguments.also_trust)
    with open_authority(arguments, may_make=False) as authority:
        known = authority.ledger.of(name, "device")
        if not known:
            raise ConfigError(
                f"{name!r} has no certificate from {authority.folder}; want a box that has: "
                f"`lookout-cloud device add {name}` makes the first"
            )
        if known[-1].revoked is not None:
            raise ConfigError(
                f"{name!r} was revoked on {known[-1].revoked:{DAY}}; want a box that still "
                f"counts: `lookout-cloud device add {name}` lets it in again"
            )
        pair, entry = authority.issue(name, "device", life(arguments), registry=known[-1].registry)
        write_login(folder, "device", pair, [authority.certificate, *certificates])
        _tell_made(arguments, authority, entry, folder)
        if not arguments.json:
            say(
                "copy ca.crt, device.key and device.crt over those on the box; when it has "
                f"connected: lookout-cloud device revoke {name} --old"
            )
    return ExitCode.OK


def run_revoke(arguments: argparse.Namespace) -> int:
    name = arguments.name
    certificates, lists = other_authorities(arguments.also_trust)
    with open_authority(arguments, may_make=False) as authority:
        role = role_of(authority, name, arguments.role)
        # Before anything is revoked: that cannot be taken back, and a path may be mistyped.
        if arguments.broker_dir is not None:
            check_list(arguments.broker_dir / REVOKED)
        if arguments.pid_file is not None:
            check_broker(arguments.pid_file)
        serials = to_revoke(authority, name, role, only_old=arguments.old)
        canary = revoke(authority, serials)
        if arguments.broker_dir is not None:
            install_list(authority, arguments.broker_dir / REVOKED, lists)
        if arguments.pid_file is not None:
            reload_broker(arguments.pid_file)
        if not arguments.json:
            say(
                f"{name}: certificates revoked: {len(serials)}; "
                f"{authority.folder / REVOKED} written"
            )
        if arguments.broker is not None:
            authorities = b"".join([authority.certificate, *certificates])
            door = Door(arguments.broker, arguments.port, authorities)
            holder = None if role == "broker" else name
            evict(authority, holder, canary, door, Event().wait)
            if not arguments.json:
                say(f"{name}: refused by {door} from now on, its session ended")
        elif not arguments.json:
            say(
                "until the broker has read the list nothing changes, and who is connected stays: "
                "see docs/certificates.md, or use --broker-dir, --pid-file and --broker"
            )
        if arguments.json:
            say(
                json.dumps(
                    {"name": name, "revoked": serials, "ended": arguments.broker is not None}
                )
            )
    return ExitCode.OK


def run_list(arguments: argparse.Namespace) -> int:
    with open_authority(arguments, may_make=False) as authority:
        now = authority.now
        entries = [each for each in authority.ledger.entries if each.role != "eviction"]
        if arguments.json:
            for each in entries:
                say(json.dumps(_as_json(authority, each)))
            return ExitCode.OK
        say(f"authority {authority.folder}: until {authority.not_after:{DAY}}")
        for each in sorted(entries, key=lambda each: (each.role, each.name, each.not_after)):
            group = f" of {each.registry}" if each.registry else ""
            say(
                f"{each.role} {each.name}{group}: {authority.ledger.standing(each, now)}, until "
                f"{each.not_after:{DAY}} ({each.days_left(now)} days), serial {each.serial}"
            )
    return ExitCode.OK


def _refuse_taken(authority: Authority, name: str, registry: str, *, is_forced: bool) -> None:
    active = authority.ledger.active(name, "device", authority.now)
    if not active:
        return
    if active[-1].registry != registry:
        raise ConfigError(
            f"{name!r} is a box of {active[-1].registry!r}; want a name that is nobody's on this "
            f"broker: choose another, or first `lookout-cloud device revoke {name}`"
        )
    if not is_forced:
        raise ConfigError(
            f"{name!r} has a certificate until {active[-1].not_after:{DAY}}; want a new name, or "
            f"`lookout-cloud device renew {name}`; --force makes another one all the same"
        )


def _tell_made(
    arguments: argparse.Namespace, authority: Authority, entry: Entry, folder: Path
) -> None:
    if arguments.json:
        say(json.dumps(_as_json(authority, entry) | {"folder": str(folder)}))
        return
    if authority.is_new:
        say(f"new certificate authority in {authority.folder}: keep a copy in a safe place")
    say(f"{folder}: {entry.name}'s key and certificate, until {entry.not_after:{DAY}}")


def _as_json(authority: Authority, entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "role": entry.role,
        "registry": entry.registry,
        "standing": authority.ledger.standing(entry, authority.now),
        "not_after": entry.not_after.isoformat(),
        "days_left": entry.days_left(authority.now),
        "serial": entry.serial,
    }
