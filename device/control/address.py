"""Addresses of Unix sockets whose path is longer than the kernel takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_BYTES = 107
"""Of a path in `sockaddr_un`, its final zero not counted. Source: unix(7)."""


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """What to bind or to connect to, for as long as the context lasts.

    A long path is reached through a descriptor of its folder.

    Raises:
        OSError: the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= LONGEST_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
