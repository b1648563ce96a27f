"""The demo's processes: those that end by themselves are named, those that run are ended."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from device.demo.parts import PartEndedError, Parts, StoppedError
from device.errors import ConfigError, TransientError

RUNS_ON = ("http.server", "--bind", "127.0.0.1", "0")
ENDS = ("json.tool", "/nowhere/absent.json")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(tmp_path, Event())
    yield parts
    parts.close()


def test_a_part_that_has_ended_is_named_with_its_last_words(parts: Parts) -> None:
    parts.start("server", *RUNS_ON)
    parts.check()
    ending = parts.start("reader", *ENDS)
    with pytest.raises(PartEndedError, match=r"absent\.json"):
        parts.wait_for(lambda: False, ending, 30.0)
    with pytest.raises(PartEndedError, match=r"^reader ended by itself with code"):
        parts.check()


def test_all_are_ended_with_the_demo(parts: Parts) -> None:
    server = parts.start("server", *RUNS_ON)
    reader = parts.start("reader", *RUNS_ON, reads=True)
    parts.wait_for(lambda: "Serving" in server.log, server, 30.0)
    assert b"Serving" in reader.stdout.readline() or reader.exit_code is None
    parts.close()
    assert server.exit_code is not None
    assert reader.exit_code is not None
    parts.close()  # a second time is no harm


def test_waiting_ends_when_the_person_wants_it_to(parts: Parts) -> None:
    server = parts.start("server", *RUNS_ON)
    parts.stop.set()
    with pytest.raises(StoppedError):
        parts.wait_for(lambda: False, server, 30.0)


def test_waiting_too_long_says_for_what(parts: Parts) -> None:
    server = parts.start("server", *RUNS_ON)
    with pytest.raises(TransientError, match="server is not ready within 0 s"):
        parts.wait_for(lambda: False, server, 0.1)


def test_a_command_that_fails_is_one_message(parts: Parts) -> None:
    with pytest.raises(ConfigError, match=r"(?s)^reading: .*absent\.json"):
        parts.run("reading", *ENDS, within_s=30.0)
    parts.run("help", "json.tool", "--help", within_s=30.0)
    parts.check()  # a command that has done its work is no part that died
