"""What a person did to a button: levels over time to short presses and held ones."""

from dataclasses import dataclass, replace
from enum import StrEnum

from device.ports import Press


class Phase(StrEnum):
    """Where a press stands."""

    UP = "up"
    DOWN = "down"
    TOLD = "told"
    """Down, and there is nothing more to say of it: it was held, or down from the start."""


def push(phase: Phase) -> Phase:
    """The contact closed."""
    return Phase.DOWN if phase is Phase.UP else phase


def hold(phase: Phase) -> tuple[Phase, Press | None]:
    """The contact has been closed for the holding time; told once."""
    if phase is Phase.DOWN:
        return Phase.TOLD, "held"
    return phase, None


def release(phase: Phase) -> tuple[Phase, Press | None]:
    """The contact opened; the end of a held press is no short press."""
    return Phase.UP, "short" if phase is Phase.DOWN else None


@dataclass(frozen=True, slots=True)
class Contact:
    """A button that is looked at now and then.

    is_closed: as last looked at. changed_ns: when that was first seen so. phase: what came of
    it, bouncing left out. down_ns: when the press began.
    """

    is_closed: bool
    changed_ns: int
    phase: Phase
    down_ns: int = 0


def first_look(is_closed: bool, now_ns: int) -> Contact:
    """A button that is down from the start is a stuck one or a jumper: no press."""
    return Contact(is_closed, now_ns, Phase.TOLD if is_closed else Phase.UP)


def look(
    contact: Contact, is_closed: bool, now_ns: int, hold_ns: int, bounce_ns: int
) -> tuple[Contact, Press | None]:
    """One look at `now_ns`: a level counts once it stood still for `bounce_ns`."""
    if is_closed != contact.is_closed:
        contact = replace(contact, is_closed=is_closed, changed_ns=now_ns)
    if now_ns - contact.changed_ns < bounce_ns:
        return contact, None
    if not is_closed:
        phase, press = release(contact.phase)
        return replace(contact, phase=phase), press
    if contact.phase is Phase.UP:
        contact = replace(contact, phase=push(contact.phase), down_ns=contact.changed_ns)
    if now_ns - contact.down_ns < hold_ns:
        return contact, None
    phase, press = hold(contact.phase)
    return replace(contact, phase=phase), press
