"""Messages that came one after the other and are acknowledged together, in order."""

from collections import deque
from collections.abc import Sequence

from cloud_bridge.forward.reading import Reading
from cloud_bridge.ports import Letter


class Parcel:
    """jobs: what is still to be done before its messages may be acknowledged: 0 to 2.

    Filled by the link's thread; handed to a publisher, to the keeper of dead letters, or both;
    changed again only by the link's thread. connection: the one that its mids belong to.
    """

    __slots__ = ("connection", "jobs", "letters", "mids", "readings", "size_bytes", "total")

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.mids: list[int] = []
        self.readings: list[Reading] = []
        self.letters: list[Letter] = []
        self.size_bytes = 0
        self.total = 0
        self.jobs = 0


class Ledger:
    """Parcels in the order of arrival; what is done is acknowledged from the front."""

    def __init__(self) -> None:
        self._parcels: deque[Parcel] = deque()

    def add(self, parcel: Parcel) -> None:
        self._parcels.append(parcel)

    def take_done(self, connection: int) -> Sequence[int]:
        """mids of the present connection that may be acknowledged now, in order."""
        mids: list[int] = []
        while self._parcels and self._parcels[0].jobs == 0:
            parcel = self._parcels.popleft()
            if parcel.connection == connection:
                mids += parcel.mids
        return mids

    def forget(self, connection: int) -> None:
        """Another connection than this one is gone, and its mids with it."""
        self._parcels = deque(each for each in self._parcels if each.connection == connection)

    def __len__(self) -> int:
        return len(self._parcels)
