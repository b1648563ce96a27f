"""A local Pub/Sub that breaks one promise on purpose, for tests that must notice.

    python -m tests.faults.publishing HOW --data-dir DIR --port PORT

HOW: `early` (Publish answers before the commit), `forgetful` (ids come again) or `unsynced`
(commits are not synced to the disk).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

from cloud_bridge.local_pubsub.server import LocalPubsub
from cloud_bridge.local_pubsub.store import Batch, Store


class EarlyStore(Store):
    """Puts messages down a while after it has said that it did."""

    BATCHES_LATE = 20

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._late: list[Batch] = []
        super().__init__(path, max_bytes)

    def append(self, batch: Batch) -> None:
        self._late.append(batch)
        while len(self._late) > self.BATCHES_LATE:
            super().append(self._late.pop(0))


class ForgetfulStore(Store):
    """Takes every run for the first one, and so gives its ids again."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(path, max_bytes)
        self.run = 1


def unsynced_store(path: Path, max_bytes: int) -> Store:
    return Store(path, max_bytes, synchronous="OFF")


STORES: dict[str, Callable[[Path, int], Store]] = {
    "early": EarlyStore,
    "forgetful": ForgetfulStore,
    "unsynced": unsynced_store,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=STORES)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    with LocalPubsub(
        arguments.data_dir, port=arguments.port, make_store=STORES[arguments.how]
    ) as pubsub:
        sys.stdout.write(f"listening on 127.0.0.1:{pubsub.port}\n")
        sys.stdout.flush()
        Event().wait()


if __name__ == "__main__":
    main()
