import asyncio
from pathlib import Path
from threading import Event

import pytest

from cloud_bridge.local_pubsub.committing import Committer
from cloud_bridge.local_pubsub.refusals import RefusedError, invalid
from cloud_bridge.local_pubsub.store import Batch, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "pubsub.db", 1 << 30)


def test_what_is_asked_while_the_disk_is_busy_shares_one_commit(store: Store) -> None:
    async def work() -> int:
        committer = Committer(store)
        go = Event()
        first = committer.ask(lambda _: go.wait(10.0))
        others = [committer.ask(lambda _, n=n: n) for n in range(50)]  # type: ignore[misc]
        go.set()
        await first
        assert await asyncio.gather(*others) == list(range(50))
        await committer.close()
        return committer.commits

    assert asyncio.run(work()) <= 3


def test_an_answer_comes_after_the_commit(store: Store, tmp_path: Path) -> None:
    async def work() -> None:
        committer = Committer(store)
        number = await committer.ask(lambda each: each.add_subscription("one", b""))
        batch = Batch(0.0, [(1, b"x")], [(number, [1])])
        await committer.ask(lambda each: each.append(batch))
        other = Store(tmp_path / "pubsub.db", 1 << 30)
        with other.transaction():
            assert len(other.after(number, 0, 10, 100)[0]) == 1
        other.close()
        await committer.close()

    asyncio.run(work())


def test_a_call_that_is_refused_spoils_nothing_for_its_neighbours(store: Store) -> None:
    def refuse(_: Store) -> None:
        raise invalid("no")

    async def work() -> None:
        committer = Committer(store)
        go = Event()
        committer.ask(lambda _: go.wait(10.0))
        good = committer.ask(lambda each: each.add_subscription("one", b""))
        bad = committer.ask(refuse)
        go.set()
        assert await good == 1
        with pytest.raises(RefusedError, match="no"):
            await bad
        await committer.close()

    asyncio.run(work())


def test_a_call_that_breaks_is_told_and_takes_nobody_with_it(store: Store) -> None:
    def break_(_: Store) -> None:
        raise KeyError("a mistake of ours")

    async def work() -> None:
        committer = Committer(store)
        go = Event()
        committer.ask(lambda _: go.wait(10.0))
        before = committer.ask(lambda each: each.add_subscription("one", b""))
        broken = committer.ask(break_)
        after = committer.ask(lambda each: len(each.subscriptions()))
        go.set()
        assert (await before, await after) == (1, 1)
        with pytest.raises(KeyError):
            await broken
        await committer.close()

    asyncio.run(work())


def test_memory_hears_of_a_commit_even_when_the_caller_has_gone(store: Store) -> None:
    async def work() -> None:
        committer = Committer(store)
        heard: list[int] = []
        go = Event()
        committer.ask(lambda _: go.wait(10.0))
        asked = committer.ask(lambda _: 7, heard.append)
        asked.cancel()
        go.set()
        await committer.ask(lambda _: None)
        assert heard == [7]
        await committer.close()

    asyncio.run(work())


def test_closing_waits_for_what_was_asked(store: Store, tmp_path: Path) -> None:
    async def work() -> None:
        committer = Committer(store)
        committer.ask(lambda each: each.add_subscription("one", b""))
        await committer.close()

    asyncio.run(work())
    again = Store(tmp_path / "pubsub.db", 1 << 30)
    with again.transaction():
        assert len(again.subscriptions()) == 1
    again.close()


def test_a_mistake_after_the_commit_costs_its_own_caller_alone(store: Store) -> None:
    def stumble(_: object) -> None:
        raise KeyError("a mistake")

    async def work() -> None:
        committer = Committer(store)
        go = Event()
        first = committer.ask(lambda _: go.wait(10.0))
        stumbling = committer.ask(lambda _: 1, stumble)
        other = committer.ask(lambda _: 2)
        go.set()
        await first
        with pytest.raises(KeyError):
            await asyncio.wait_for(stumbling, 10.0)
        assert await asyncio.wait_for(other, 10.0) == 2
        await committer.close()

    asyncio.run(work())
