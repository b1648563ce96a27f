"""How much memory a process has, over time, and whether it grows: a fit that a few jumps do not
move."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Sample(NamedTuple):
    """at_s: since any moment. rss: all pages in memory; pss: shared ones count in part."""

    at_s: float
    rss_bytes: int
    pss_bytes: int


def sample(pid: int, at_s: float) -> Sample:
    """Raises OSError: there is no such process."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * 1024
    return Sample(at_s, sizes["Rss"], sizes["Pss"])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs (Theil and Sen): a jump moves few of them."""
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(points, 2)
        if later[0] > earlier[0]
    ]
    return median(slopes)


@dataclass(frozen=True, slots=True)
class Growth:
    """Of one process, the warm-up left out."""

    first: Sample
    last: Sample
    rss_bytes_a_second: float
    pss_bytes_a_second: float

    @classmethod
    def of(cls, samples: Sequence[Sample], warm_up_s: float) -> "Growth":
        counted = [each for each in samples if each.at_s >= warm_up_s]
        return cls(
            counted[0],
            counted[-1],
            slope([(each.at_s, each.rss_bytes) for each in counted]),
            slope([(each.at_s, each.pss_bytes) for each in counted]),
        )

    def __str__(self) -> str:
        seconds = self.last.at_s - self.first.at_s
        return (
            f"rss {self.first.rss_bytes / 1e6:.1f} to {self.last.rss_bytes / 1e6:.1f} MB,"
            f" pss {self.first.pss_bytes / 1e6:.1f} to {self.last.pss_bytes / 1e6:.1f} MB"
            f" in {seconds:.0f} s; fitted {self.rss_bytes_a_second / 1e3:+.2f}"
            f" and {self.pss_bytes_a_second / 1e3:+.2f} kB a second"
        )
