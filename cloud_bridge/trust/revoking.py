"""Takes certificates back, and their holder's session with them.

mosquitto reads a new list on SIGHUP, and asks it for new connections alone: who is connected stays.
A certificate of the same name, minutes long, takes the session over. But first another one that is
on the list already must be refused, or the holder would simply come back.
"""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cloud_bridge.errors import ConfigError, OutputError, TransientError
from cloud_bridge.trust.authority import Authority
from cloud_bridge.trust.certificates import Pair
from cloud_bridge.trust.files import PUBLIC, read_file, write_file
from cloud_bridge.trust.knock import Door, is_let_in
from cloud_bridge.trust.names import Role

EVICTION_LIFE = timedelta(minutes=10)

CANARY_NAME = "-canary-"
"""No box can be called so: a canary that is let in must throw nobody off."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A certificate that was revoked at its birth: refused once the broker has read the list."""

    pair: Pair


def role_of(authority: Authority, name: str, asked: Role | None) -> Role:
    """asked: by the person, needed where a box is called as the broker's host is.

    Raises:
        ConfigError: nobody is called so, or it is not clear who is meant.
    """
    roles = authority.ledger.roles_of(name)
    if asked in roles:
        return asked
    if not roles or asked is not None:
        who = f"{name!r} has no certificate" + (f" of a {asked}" if asked and roles else "")
        raise ConfigError(
            f"{who} from {authority.folder}; `lookout-cloud device list` shows who has"
        )
    if len(roles) > 1:
        raise ConfigError(
            f"{name!r} is the name of a {' and of a '.join(roles)}; want to know which: --role"
        )
    return roles[0]


def to_revoke(authority: Authority, name: str, role: Role, *, only_old: bool) -> tuple[str, ...]:
    """Serials of `name` that are to go; none when all went before."""
    active = [each.serial for each in authority.ledger.active(name, role, authority.now)]
    return tuple(active[:-1] if only_old else active)


def revoke(authority: Authority, serials: Sequence[str]) -> Canary:
    """Put them on the list, with a canary. Raises OutputError."""
    pair, entry = authority.issue(CANARY_NAME, "eviction", EVICTION_LIFE)
    authority.revoke([*serials, entry.serial])
    return Canary(pair)


def check_list(path: Path) -> None:
    """Raises ConfigError: no list for the broker is there, so it is not the broker's folder."""
    read_file(path, "want the broker's folder, which `lookout-cloud broker settings` filled")


def install_list(authority: Authority, path: Path, others: Sequence[bytes]) -> None:
    """Where the broker reads it, with the lists of the other authorities that it trusts.

    Raises:
        ConfigError: there is no such list: it is not the broker's folder.
        OutputError: it cannot be written.
    """
    check_list(path)
    write_file(path, b"".join([authority.revocations(), *others]), PUBLIC)


def check_broker(pid_file: Path) -> None:
    """Raises as `reload_broker` would; changes nothing."""
    _signal_broker(pid_file, 0)


def reload_broker(pid_file: Path) -> None:
    """SIGHUP to the process whose number stands in the file.

    Raises:
        ConfigError: the file holds no process's number.
        OutputError: this user may not send it a signal.
    """
    _signal_broker(pid_file, signal.SIGHUP)


def _signal_broker(pid_file: Path, number: int) -> None:
    text = read_file(pid_file, "want mosquitto's pid_file").decode("ascii", "replace").strip()
    wish = "want mosquitto's pid_file, and mosquitto running"
    if not text.isdecimal() or int(text) <= 1:
        raise ConfigError(f"{pid_file} holds {text[:20]!r}, no process's number; {wish}")
    try:
        os.kill(int(text), number)
    except (ProcessLookupError, OverflowError) as exc:
        raise ConfigError(f"{pid_file}: there is no process {text}; {wish}") from exc
    except PermissionError as exc:
        raise OutputError(
            f"this user may not reload process {text}; want mosquitto's own user, or root"
        ) from exc


def evict(
    authority: Authority,
    name: str | None,
    canary: Canary,
    door: Door,
    wait: Callable[[float], object],
) -> None:
    """Throw the session of `name` off, once it cannot come back.

    name: None for a broker, who has no session: only the list is proved. wait: lets so many
    seconds pass; a broker that was told to reload needs a moment.

    Raises:
        ConfigError: whoever answers is no broker of this authority, or it refuses everybody.
        TransientError: the broker has not read the list, or does not answer.
    """
    for delay_s in (0.0, 0.2, 0.8, 2.0):
        wait(delay_s)
        if not is_let_in(door, canary.pair, CANARY_NAME):
            break
    else:
        raise TransientError(
            f"the broker at {door} still lets a revoked certificate in; want crl.pem in its "
            "folder and `systemctl reload mosquitto`, then the same command again"
        )
    if name is None:
        return
    pair, _ = authority.issue(name, "eviction", EVICTION_LIFE)
    if not is_let_in(door, pair, name):
        raise ConfigError(
            f"the broker at {door} refuses a good certificate too, so every box; its log says "
            "why: want ca.crt and crl.pem of the same authority in its folder"
        )
