"""Receipts: what has arrived beyond the broker, and what nobody can read.

Only the confirmation of Pub/Sub makes a receipt; it lets the device forget its copy. A receipt
names ranges, so a later one heals a lost one.
"""

import json
from typing import Annotated

from pydantic import Field

from device.wire.bodies import Part
from device.wire.errors import WireError
from device.wire.events import first_mistake
from device.wire.names import RunId

MAX_RECEIPT_BYTES = 64 * 1024

Seq = Annotated[int, Field(ge=1, le=10**18)]


class Refusal(Part):
    """An event that was kept aside as a dead letter: sending it again is of no use."""

    seq: Seq
    """Of the event."""
    reason: str
    """For people."""


class Receipt(Part):
    """Events of one run that are stored beyond the broker, or refused there."""

    run: str
    """Any run of this box, not only the present one."""
    ok: list[tuple[Seq, Seq]] = []
    """Ranges of `seq`, first and last included: these are stored. A later receipt may name them
    again, so that it heals a lost one."""
    refused: list[Refusal] = []
    """These are not stored, and never will be."""


def encode_receipt(receipt: Receipt) -> bytes:
    """JSON, UTF-8."""
    return json.dumps(
        receipt.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False
    ).encode()


def decode_receipt(payload: bytes) -> Receipt:
    """
    Raises:
        WireError: no receipt, or too large to be one.
    """
    if len(payload) > MAX_RECEIPT_BYTES:
        raise WireError(f"receipt of {len(payload)} bytes: want at most {MAX_RECEIPT_BYTES}")
    try:
        receipt = Receipt.model_validate_json(payload)
    except (ValueError, RecursionError) as exc:  # a ValidationError is a ValueError
        raise WireError(f"not a receipt: {first_mistake(exc)}") from exc
    RunId.parse(receipt.run)
    for first, last in receipt.ok:
        if first > last:
            raise WireError(f"receipt range [{first}, {last}]: want the smaller seq first")
    return receipt


def ranges_of(seqs: list[int]) -> list[tuple[int, int]]:
    """Sorted seqs, repeats allowed, as the fewest ranges, ends included."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and seq <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(seq, ranges[-1][1]))
        else:
            ranges.append((seq, seq))
    return ranges
