"""When a frame is worth a look: a gate over small luma pictures."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device.core.images import Image, Pixels, Rgb

LUMA_HEIGHT_PX = 45
LUMA_WIDTH_PX = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """How much must change.

    pixel_step: 0 to 255; a cell of the small picture has changed when its luma moved further.
    share: 0 to 1; the region is worth a look when more than this share of cells has changed.
    look_every_ns: the region is looked at at least this often, so that what stands still, or
    comes in too slowly for the gate, is seen too.
    """

    pixel_step: int
    share: float
    look_every_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GateState:
    """The picture of the last look, and when it was."""

    reference: Pixels | None = None
    looked_ns: int = 0


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Why a region was looked at, or was not.

    reason: `first`, `changed`, `due`, `busy` (something is present, or about to be) or
    `still` (the only one that dismisses).
    """

    is_open: bool
    reason: str
    changed_share: float


def luma_of(image: Image, mask: NDArray[np.bool_] | None = None) -> Pixels:
    """A small luma picture of `image`, uint8, at most (45, 80): means over blocks of pixels.

    Means, not samples: a sample every so many pixels misses what is thin. Of an `Rgb` the green
    channel stands for luma. Cells where `mask` (same shape) is true are zero, so never change.
    """
    plane = image.pixels[:, :, 1] if isinstance(image, Rgb) else image.y
    height_px, width_px = plane.shape
    rows, columns = min(LUMA_HEIGHT_PX, height_px), min(LUMA_WIDTH_PX, width_px)
    if (rows, columns) == (height_px, width_px):
        small = np.array(plane)
    else:
        lines, tall = _row_sums(plane, rows)
        lefts = np.arange(columns) * width_px // columns
        wide = np.diff(lefts, append=width_px)
        sums = np.add.reduceat(lines, lefts, axis=1, dtype=np.uint32)
        small = (sums // np.multiply.outer(tall, wide)).astype(np.uint8)
    if mask is not None:
        small[mask] = 0
    return small


def _row_sums(plane: Pixels, rows: int) -> tuple[NDArray[np.unsignedinteger], NDArray[np.intp]]:
    """Sums over `rows` bands of pixel rows, and how many rows each band has.

    Where the height does not divide, the last bands have a row more, so that no edge is left out.
    A sum over a reshaped view takes a twentieth of the time of `np.add.reduceat`.
    """
    height_px, width_px = plane.shape
    least, longer = divmod(height_px, rows)
    dtype = np.uint16 if least < 257 else np.uint32  # 257 bytes sum up to 65,535
    split = (rows - longer) * least
    sums = np.empty((rows, width_px), dtype)
    upper, lower = plane[:split], plane[split:]
    upper.reshape(rows - longer, least, width_px).sum(
        axis=1, dtype=dtype, out=sums[: rows - longer]
    )
    if longer:
        lower.reshape(longer, least + 1, width_px).sum(
            axis=1, dtype=dtype, out=sums[rows - longer :]
        )
    return sums, np.repeat([least, least + 1], [rows - longer, longer])


def judge(
    state: GateState, luma: Pixels, now_ns: int, is_busy: bool, settings: GateSettings
) -> tuple[GateState, GateVerdict]:
    """Whether a region whose small picture is `luma` is worth a look at `now_ns`.

    The reference moves only when the region is looked at: so what changes a little with each
    frame adds up, and is seen.
    """
    if state.reference is None or state.reference.shape != luma.shape:
        return GateState(reference=luma, looked_ns=now_ns), GateVerdict(True, "first", 1.0)
    step = np.maximum(state.reference, luma) - np.minimum(state.reference, luma)
    share = float(np.count_nonzero(step > settings.pixel_step) / step.size)
    if share > settings.share:
        reason = "changed"
    elif is_busy:
        reason = "busy"
    elif now_ns - state.looked_ns >= settings.look_every_ns:
        reason = "due"
    else:
        return state, GateVerdict(False, "still", share)
    return replace(state, reference=luma, looked_ns=now_ns), GateVerdict(True, reason, share)
