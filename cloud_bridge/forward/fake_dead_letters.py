"""Dead letters in memory, bounded alike."""

from collections.abc import Sequence

from cloud_bridge.errors import FullError
from cloud_bridge.ports import Clock, KeptLetter, Letter


class FakeDeadLetters:
    """Matches `ports.DeadLetters`; forgets all when it is gone."""

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self.max_bytes = max_bytes
        self._clock = clock
        self._kept: dict[int, KeptLetter] = {}
        self._next = 1

    def add_all(self, letters: Sequence[Letter]) -> None:
        kept, following = dict(self._kept), self._next
        now_ns = self._clock.wall_ns()
        for letter in letters:
            same = next(
                (
                    each
                    for each in kept.values()
                    if (each.letter.topic, each.letter.payload) == (letter.topic, letter.payload)
                ),
                None,
            )
            number = following if same is None else same.number
            following += same is None
            kept[number] = KeptLetter(
                number=number,
                letter=letter,
                first_ns=now_ns if same is None else same.first_ns,
                last_ns=now_ns,
                times=1 if same is None else same.times + 1,
            )
        if _size(kept) > self.max_bytes:
            raise FullError("the fake dead letters are full; drop some")
        self._kept, self._next = kept, following

    def letters(self, numbers: Sequence[int] | None = None, limit: int = 100) -> list[KeptLetter]:
        if numbers is None:
            return list(self._kept.values())[:limit]
        return [self._kept[number] for number in sorted(set(numbers)) if number in self._kept]

    def remove(self, numbers: Sequence[int]) -> int:
        return sum(self._kept.pop(number, None) is not None for number in set(numbers))

    def count(self) -> tuple[int, int]:
        return len(self._kept), _size(self._kept)

    def close(self) -> None: ...


def _size(kept: dict[int, KeptLetter]) -> int:
    return sum(len(each.letter.payload) + len(each.letter.topic) + 300 for each in kept.values())
