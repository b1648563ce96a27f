"""Commands: once each, in time, and told."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.clocks import HandClock
from device.errors import ConfigError
from device.messaging.fake_small_file import FakeSmallFile
from device.pipeline.commanding import (
    IDS_AT_MOST,
    UNREADABLE_TOLD,
    Commanding,
    Doings,
    DoneIds,
    take_note,
)
from device.pipeline.decide import Answer, Asked, Identify, Request
from device.ports import Keepsake
from device.wire.bodies import CommandDone, RegionSight
from device.wire.downward import Command
from device.wire.events import Draft, time_text

SIGHT = RegionSight(region="whole", present=["cat"])


class Desk:
    """A box that does what it is asked at once, and writes it down."""

    def __init__(self, file: FakeSmallFile | None = None) -> None:
        self.clock = HandClock()
        self.file = file or FakeSmallFile()
        self.asked: list[str] = []
        self.told: list[CommandDone] = []
        self.answer = Answer("looked", (SIGHT,))
        self.identify_problem: str | None = None
        self.reload_result: Callable[[], str | None] = lambda: None
        self.is_full = False
        self.start()

    def start(self) -> None:
        """As after a restart: only the file is left."""
        doings = Doings(self._ask, self._reload, lambda _: self.asked.append("restart"))
        self.commanding = Commanding(doings, DoneIds(self.file), self._report, self.clock)

    def _ask(self, asked: Asked) -> bool:
        if self.is_full:
            return False
        if isinstance(asked, Request):
            self.asked.append(asked.kind)
            asked.reply(self.answer)
        elif isinstance(asked, Identify):
            self.asked.append("identify")
            asked.reply(self.identify_problem)
        return True

    def _reload(self) -> str | None:
        self.asked.append("reload")
        return self.reload_result()

    def _report(self, draft: Draft, _keepsake: Keepsake | None) -> bool:
        assert isinstance(draft.body, CommandDone)
        self.told.append(draft.body)
        return True

    def send(self, command: str, command_id: str = "1", in_s: float = 60.0, **more: Any) -> str:  # noqa: ANN401
        """The result."""
        expires = time_text(self.clock.wall_ns() + round(in_s * 1e9))
        message = {"id": command_id, "command": command, "expires": expires, **more}
        self.commanding.take(json.dumps(message).encode())
        return self.told[-1].result


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("classify", "look"),
        ("pause", "pause"),
        ("resume", "resume"),
        ("identify", "identify"),
        ("reload", "reload"),
        ("restart", "restart"),
    ],
)
def test_each_command_is_done_and_told(command: str, asked: str) -> None:
    desk = Desk()
    assert desk.send(command, "a.b-c_1") == "done"
    assert desk.asked == [asked]
    [body] = desk.told
    assert (body.command_id, body.command) == ("a.b-c_1", command)
    assert body.sights == ([SIGHT] if command == "classify" else [])


def test_a_command_is_done_once_even_over_a_restart() -> None:
    desk = Desk()
    assert desk.send("restart") == "done"
    assert desk.send("restart") == "repeated"
    desk.start()
    assert desk.send("restart") == "repeated"
    assert desk.asked == ["restart"]
    assert desk.send("restart", "2") == "done"


def test_the_id_is_on_disk_before_the_command_is_done() -> None:
    desk = Desk()
    seen: list[bytes | None] = []

    def look() -> str | None:
        seen.append(desk.file.content)
        return None

    desk.reload_result = look
    desk.send("reload", "7")
    assert seen[0] is not None
    assert "7" in json.loads(seen[0])


def test_what_cannot_be_remembered_is_not_done() -> None:
    desk = Desk()
    desk.file.is_broken = True
    assert desk.send("restart") == "refused"
    assert "no space left" in (desk.told[-1].detail or "")
    assert desk.asked == []
    desk.file.is_broken = False
    assert desk.send("restart") == "done"


def test_a_command_is_not_done_after_its_expiry() -> None:
    desk = Desk()
    assert desk.send("pause", in_s=0.0) == "expired"
    assert desk.send("pause", in_s=-1e6) == "expired"
    assert desk.send("pause", in_s=1.0) == "done"
    assert desk.asked == ["pause"]


def test_without_a_clock_nobody_knows_what_has_expired() -> None:
    desk = Desk()
    desk.clock.minute = None
    assert desk.send("pause") == "refused"
    assert "clock is not set" in (desk.told[-1].detail or "")
    assert desk.asked == []


def test_an_expiry_in_the_far_future_is_refused() -> None:
    desk = Desk()
    assert desk.send("pause", in_s=8 * 24 * 3600) == "refused"
    assert desk.send("pause", in_s=6 * 24 * 3600) == "done"


def test_ids_are_kept_until_they_expire_and_their_number_has_a_bound() -> None:
    desk = Desk()
    for number in range(IDS_AT_MOST):
        assert desk.send("pause", f"n{number}", in_s=100.0) == "done"
    assert desk.send("pause", "one more") == "refused"
    assert desk.send("pause", "more", in_s=1000.0) == "refused"
    assert desk.send("pause", "n0") == "repeated"
    desk.clock.advance(200.0)
    assert desk.send("pause", "more", in_s=1000.0) == "done"
    assert desk.file.content is not None
    assert list(json.loads(desk.file.content)) == ["more"]


def test_what_fails_is_told_with_the_reason() -> None:
    desk = Desk()
    desk.answer = Answer("no_picture")
    assert desk.send("classify", "1") == "failed"
    desk.identify_problem = "no output is named for it"
    assert desk.send("identify", "2") == "refused"

    def refuse() -> str | None:
        raise ConfigError("lookout.toml:2: camera.sorce: unknown key" + "x" * 1000)

    desk.reload_result = refuse
    assert desk.send("reload", "3") == "failed"
    desk.reload_result = lambda: "a restart is needed for [mqtt]"
    assert desk.send("reload", "4") == "refused"
    desk.is_full = True
    assert desk.send("pause", "5") == "failed"
    assert all(body.detail and len(body.detail) <= 500 for body in desk.told)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"{}",
        b'{"id":"1","command":"format","expires":"2026-11-24T12:00:00Z"}',
        b'{"id":"1","command":"pause","expires":"tomorrow"}',
        b'{"id":"1","command":"pause","expires":"2026-11-24T12:00:00"}',
        b"x" * 70_000,
    ],
)
def test_what_is_no_command_is_counted_and_told(payload: bytes) -> None:
    desk = Desk()
    desk.commanding.take(payload)
    assert desk.commanding.unreadable == 1
    [body] = desk.told
    assert (body.result, body.command_id, body.command) == ("refused", None, None)
    assert desk.asked == []


def test_a_flood_of_rubbish_fills_no_outbox() -> None:
    desk = Desk()
    for _ in range(1000):
        desk.commanding.take(b"rubbish")
    assert desk.commanding.unreadable == 1000
    assert len(desk.told) == UNREADABLE_TOLD
    desk.clock.advance(601.0)
    desk.commanding.take(b"rubbish")
    assert len(desk.told) == UNREADABLE_TOLD + 1


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"1": "x"}', b"null"])
def test_ids_that_cannot_be_read_are_forgotten(content: bytes) -> None:
    desk = Desk(FakeSmallFile(content))
    assert desk.send("pause") == "done"


def test_a_note_of_a_restart_is_taken_once() -> None:
    file = FakeSmallFile(b"7")
    assert take_note(file)
    assert not take_note(file)
    file = FakeSmallFile(b"7")
    file.is_broken = True
    assert take_note(file)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=300)
    | st.builds(
        lambda command, junk: json.dumps(
            {**json.loads(command.model_dump_json()), **junk}
        ).encode(),
        st.builds(
            Command,
            id=st.sampled_from(["1", "2"]),
            command=st.sampled_from(["classify", "pause", "identify"]),
            expires=st.sampled_from(
                ["2025-11-24T17:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
            )
            | st.datetimes().map(lambda when: f"{when.isoformat()}Z"),
        ),
        st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3),
    )
)
def test_whatever_comes_is_answered_with_one_event_and_no_error(payload: bytes) -> None:
    desk = Desk()
    desk.commanding.take(payload)
    desk.commanding.take(payload)
    assert len(desk.told) == 2
    assert len(desk.asked) <= 1
