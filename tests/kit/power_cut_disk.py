"""A disk that knows which bytes and names a power cut would leave, now and at any moment before.

Bytes of a file are durable once the file was synced; names (made, renamed, removed) once the
folder was. With chance, some of what was written and not synced survives all the same, whole or
in part: a real disk's cache writes what it likes in the order it likes.
"""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


@dataclass(eq=False)
class Inode:
    """A file's bytes as processes see them, and as the disk holds them.

    unsynced: every change since the last sync: offset and bytes, or a new length.
    """

    number: int
    live: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        if self.unsynced:
            self.durable = bytes(self.live)
            self.unsynced.clear()

    def write(self, payload: bytes, offset: int) -> None:
        self.unsynced.append((offset, payload))
        _write(self.live, payload, offset)

    def truncate(self, length: int) -> None:
        if length != len(self.live):
            self.unsynced.append((length, None))
            _resize(self.live, length)

    def after_cut(self, chance: random.Random | None) -> bytes:
        """chance: None loses all that was not synced."""
        kept = bytearray(self.durable)
        if chance is not None:
            for place, payload in self.unsynced:
                fate = chance.choice(("kept", "lost", "torn"))
                if fate == "lost":
                    continue
                if payload is None:
                    _resize(kept, place)
                elif fate == "kept":
                    _write(kept, payload, place)
                else:
                    _write_torn(kept, payload, place, chance)
        return bytes(kept)

    def cut(self, chance: random.Random | None) -> None:
        self.durable = self.after_cut(chance)
        self.live = bytearray(self.durable)
        self.unsynced.clear()


def _resize(content: bytearray, length: int) -> None:
    if length < len(content):
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))


def _write(content: bytearray, payload: bytes, offset: int) -> None:
    if offset > len(content):
        _resize(content, offset)
    content[offset : offset + len(payload)] = payload


def _write_torn(content: bytearray, payload: bytes, offset: int, chance: random.Random) -> None:
    """Some of the sectors; the length may have come without the bytes."""
    if chance.random() < 0.5:
        _resize(content, max(len(content), offset + len(payload)))
    first = offset // SECTOR_BYTES
    last = (offset + len(payload) - 1) // SECTOR_BYTES
    for sector in range(first, last + 1):
        if chance.random() < 0.5:
            start = max(sector * SECTOR_BYTES, offset)
            end = min((sector + 1) * SECTOR_BYTES, offset + len(payload))
            _write(content, payload[start - offset : end - offset], start)


class Disk:
    """One flat folder. Files are told apart by their inode's number, whatever their name."""

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {}
        self.names: dict[str, int] = {}
        self._durable_names: dict[str, int] = {}
        self._last = 1

    def find(self, name: str) -> Inode | None:
        number = self.names.get(name)
        return None if number is None else self.inodes[number]

    def create(self, name: str) -> None:
        self._last += 1
        self.inodes[self._last] = Inode(self._last)
        self.names[name] = self._last

    def unlink(self, name: str) -> None:
        del self.names[name]

    def rename(self, old: str, new: str) -> None:
        self.names[new] = self.names.pop(old)

    def write(self, number: int, payload: bytes, offset: int) -> None:
        self.inodes[number].write(payload, offset)

    def truncate(self, number: int, length: int) -> None:
        self.inodes[number].truncate(length)

    def sync(self, number: int) -> None:
        self.inodes[number].sync()

    def sync_names(self) -> None:
        self._durable_names = dict(self.names)

    def after_cut(self, chance: random.Random | None) -> dict[str, bytes]:
        """The files, by name, that somebody finds after the power went now."""
        return {
            name: self.inodes[number].after_cut(chance)
            for name, number in sorted(self._durable_names.items())
        }

    def cut(self, chance: random.Random | None) -> None:
        self.names = dict(self._durable_names)
        self.inodes = {number: self.inodes[number] for number in sorted(self.names.values())}
        for inode in self.inodes.values():
            inode.cut(chance)


class History:
    """Everything that was done to a disk since some moment, so that any moment can be had again."""

    def __init__(self, start: Disk) -> None:
        self._start = copy.deepcopy(start)
        self._steps: list[Callable[[Disk], None]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def note(self, step: Callable[[Disk], None]) -> None:
        self._steps.append(step)

    def disk_at(self, position: int) -> Disk:
        """The disk after the first `position` steps."""
        disk = copy.deepcopy(self._start)
        for step in self._steps[:position]:
            step(disk)
        return disk
