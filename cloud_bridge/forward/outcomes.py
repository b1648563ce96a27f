"""What workers tell the link's thread about a parcel."""

from typing import NamedTuple, TypeAlias

from cloud_bridge.forward.parcel import Parcel
from cloud_bridge.forward.reading import Reading
from cloud_bridge.ports import Letter


class Published(NamedTuple):
    """Pub/Sub has confirmed `confirmed`; `refused` it will never take, with its reasons."""

    parcel: Parcel
    confirmed: list[Reading]
    refused: list[tuple[Reading, str]]


class Kept(NamedTuple):
    """The dead letters of a parcel are on disk."""

    parcel: Parcel
    letters: list[Letter]


class KeepJob(NamedTuple):
    """What the keeper of dead letters is asked to do."""

    parcel: Parcel
    letters: list[Letter]


class Dropped(NamedTuple):
    """A job was not begun, since the connection of its parcel is gone: everything comes again."""

    parcel: Parcel


Outcome: TypeAlias = Published | Kept | Dropped
