"""What came down, sorted by topic, bounded, and counted where nobody can read it."""

from pathlib import Path

import pytest

from device.clocks import HandClock
from device.messaging.fake_small_file import FakeSmallFile
from device.pipeline.commanding import Commanding, Doings, DoneIds
from device.pipeline.downlink import WAITING_AT_MOST, Downlink
from device.ports import Incoming
from device.wire.downward import Command, DesiredSettings, encode_down
from device.wire.names import Topics
from tests.device.pipeline.test_tuning import Rig

TOPICS = Topics("home", "garden")


class Stage:
    def __init__(self, tmp_path: Path) -> None:
        self.rig = Rig(tmp_path)
        self.reloads = 0
        clock = HandClock()
        doings = Doings(lambda _: False, self._reload, lambda _: None)
        commanding = Commanding(doings, DoneIds(FakeSmallFile()), lambda *_: True, clock)
        self.downlink = Downlink(TOPICS, commanding, self.rig.tuning)

    def _reload(self) -> str | None:
        self.reloads += 1
        return None

    def put(self, topic: str, payload: bytes) -> None:
        self.downlink.put(Incoming(topic, payload))
        self.downlink.turn(0.0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_settings_and_commands_go_their_ways(stage: Stage) -> None:
    stage.put(
        TOPICS.config, encode_down(DesiredSettings(version=1, settings={"report": {"state_s": 5}}))
    )
    assert stage.rig.state.desired_version == 1
    command = Command(id="1", command="reload", expires="2025-11-24T17:00:00Z")
    stage.put(TOPICS.commands("anything/below"), encode_down(command))
    assert stage.reloads == 1
    assert stage.downlink.dropped == 0


def test_settings_that_nobody_can_read_are_refused_and_counted(stage: Stage) -> None:
    stage.put(TOPICS.config, b'{"version": 0}')
    assert stage.rig.state.refused[0].startswith("desired: not desired settings: version")
    stage.put(TOPICS.commands("x"), b"\xff")
    assert stage.downlink.dropped == 2


def test_a_cleared_retained_message_and_other_topics_are_nothing(stage: Stage) -> None:
    stage.put(TOPICS.config, b"")
    stage.put("home/devices/other/config", b"{}")
    stage.put("home/devices/garden/commands", b"{}")
    assert stage.rig.told == []
    assert stage.downlink.dropped == 0


def test_more_than_the_bound_is_dropped_and_counted(stage: Stage) -> None:
    for _ in range(WAITING_AT_MOST + 7):
        stage.downlink.put(Incoming(TOPICS.config, b"{"))
    assert stage.downlink.dropped == 7
    assert not stage.downlink.do(lambda: None)
    for _ in range(WAITING_AT_MOST + 7):
        stage.downlink.turn(0.0)
    assert stage.downlink.dropped == WAITING_AT_MOST + 7


def test_a_job_is_done_in_its_turn_and_a_trial_watched_meanwhile(stage: Stage) -> None:
    done: list[int] = []
    assert stage.downlink.do(lambda: done.append(1))
    stage.downlink.turn(0.0)
    assert done == [1]
    stage.rig.desire(1, report={"state_s": 5})
    stage.rig.clock.advance(61.0)
    stage.downlink.turn(0.0)
    assert not stage.rig.state.is_on_trial
