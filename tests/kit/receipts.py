"""What the receipts say that a subscriber has received, whatever else it listens to."""

import json
from typing import Any

from tests.kit.bridge import RUN
from tests.kit.subscriber import Subscriber


def confirmed(listener: Subscriber) -> set[int]:
    """The seqs that were told to be stored, ever, of all runs and devices alike."""
    return {
        seq
        for receipt in _receipts(listener)
        for first, last in receipt["ok"]
        for seq in range(first, last + 1)
    }


def refused(listener: Subscriber) -> dict[int, str]:
    """The reasons of those that were refused, by seq."""
    return {each["seq"]: each["reason"] for one in _receipts(listener) for each in one["refused"]}


def ids(*seqs: int) -> set[str]:
    """Of the garden's events in the run that the kit makes up."""
    return {f"garden:{RUN}:{seq}" for seq in seqs}


def _receipts(listener: Subscriber) -> list[dict[str, Any]]:
    return [
        json.loads(message.payload)
        for message in listener.messages
        if message.topic.endswith("/receipts")
    ]
