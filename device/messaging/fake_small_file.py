"""A small file in memory, on a disk that a test can break."""

from device.errors import TransientError


class FakeSmallFile:
    """Matches `ports.SmallFile`."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content = content
        self.is_broken = False

    def read(self) -> bytes | None:
        return self.content

    def write(self, content: bytes) -> None:
        self._refuse()
        self.content = content

    def remove(self) -> None:
        self._refuse()
        self.content = None

    def _refuse(self) -> None:
        if self.is_broken:
            raise TransientError("no space left; want room")
