"""How much room events take on disk, and how much is written for each: the limits that docs name.

`tests/bench/bench_outbox.py` measures the same with fifteen times as many events.
"""

import sys
from pathlib import Path

import pytest

from tests.bench.bench_outbox import (
    BURST,
    count_plainly,
    file_bytes,
    fill,
    open_outbox,
    sizes_by_kind,
    written_by,
)
from tests.kit.typical_box import typical_drafts

# No TFLite runtime has a part in it.
pytestmark = pytest.mark.cloud

EVENTS = 20_000
DISTINCT = 200
SEED = 1


def test_events_without_pictures_take_a_thousand_bytes_at_most_and_write_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drafts = typical_drafts(2 * EVENTS, SEED, DISTINCT)
    path = tmp_path / "outbox.db"
    outbox = open_outbox(path)
    fill(outbox, drafts, EVENTS - 4500)
    burst = written_by(outbox, drafts, BURST, 4000)
    alone = written_by(outbox, drafts, 1, 500)
    outbox.close()
    each_bytes = file_bytes(path) / EVENTS
    with capsys.disabled():
        sys.stdout.write(f"\nbytes_each={each_bytes:.0f} burst={burst} alone={alone}\n")
    assert count_plainly(path) == EVENTS
    assert each_bytes <= 1000
    assert max(burst.asked, burst.to_disk) <= 4000
    assert max(alone.asked, alone.to_disk) <= 20_000


def test_a_detection_with_its_reasons_is_stored_in_six_hundred_bytes() -> None:
    sizes = sizes_by_kind(list(typical_drafts(DISTINCT, SEED, DISTINCT)))
    detections = {name: each for name, each in sizes.items() if "detection" in name}
    assert len(detections) == 2
    assert all(stored <= 600 for _, _, stored in detections.values())
