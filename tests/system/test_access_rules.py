"""Every role, every topic, every verb: what the generated rules let through on a real mosquitto.

What is wanted is said here anew, from the wire format, in words of its own.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.kit.peer import Peer, RefusedError
from tests.kit.trust import OBSERVER, TrustedBroker
from tests.tools import require_tool

NOT_AUTHORIZED = 135
NO_SUBSCRIBERS = 16

BRIDGES = ("bridge-home", "bridge-two")

SUFFIXES = (
    "", "/events", "/events/detection", "/events/a/b", "/state", "/state/x", "/availability",
    "/receipts", "/receipts/x", "/config", "/commands", "/commands/classify", "/commands/a/b",
    "/other", "/eventsx",
)  # fmt: skip
ODD = (
    "home", "home/devices", "home//garden/state", "home/devices//state",
    "/home/devices/garden/state", "Home/devices/garden/state", "home/devices/Garden/state",
    "home/device/garden/state",
    "else/devices/garden/state", "else/devices/garden/config", "garden/state", "other/topic",
    "home/devices/garden/events/ä/☃", "home/devices/garden/commands/%u",
)  # fmt: skip
RESERVED = ("$SYS/broker/uptime", "$SYS/broker/version", "$CONTROL/dynamic-security/v1")
TOPICS = (
    *(
        f"{registry}/devices/{device}{suffix}"
        for registry in ("home", "farm")
        for device in ("garden", "shed", "goat", *BRIDGES, "nobody", OBSERVER)
        for suffix in SUFFIXES
    ),
    *ODD,
)

DEVICE_WRITES = {"events", "state", "availability"}
DEVICE_READS = {"receipts", "config", "commands"}
DEEP = {"events", "commands"}
"""Kinds that have subfolders; a `#` takes the level above in, too."""


@dataclass(frozen=True)
class Place:
    """A broker under test. served: the registries that it was set up for."""

    trusted: TrustedBroker
    served: tuple[str, ...]
    devices: dict[str, str]

    def may(self, role: str, topic: str, *, write: bool) -> bool:
        """What architecture.md's table of topics says."""
        parts = topic.split("/")
        if len(parts) < 4 or parts[1] != "devices" or parts[0] not in self.served:
            return False
        registry, _, device, kind, *deeper = parts
        if kind not in DEVICE_WRITES | DEVICE_READS or (deeper and kind not in DEEP):
            return False
        if role in BRIDGES:
            return device != role and (kind in DEVICE_READS) is write
        is_own = device == role and registry == self.devices[role]
        return is_own and (kind in DEVICE_WRITES) is write


SETUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "one registry": {"home": ("garden", "shed")},
    "two registries": {"home": ("garden", "shed"), "farm": ("goat",)},
}


EVERY_ROLE = pytest.mark.parametrize(
    ("setup", "role"),
    [
        pytest.param(setup, role, id=f"{setup}, {role}")
        for setup, devices in SETUPS.items()
        for role in (*(name for names in devices.values() for name in names), *BRIDGES)
    ],
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    mosquitto = require_tool("mosquitto")
    with ExitStack() as brokers:
        found = {}
        for setup, devices in SETUPS.items():
            folder = tmp_path_factory.mktemp("trusted")
            trusted = TrustedBroker(mosquitto, folder, dict(devices), BRIDGES)
            brokers.enter_context(trusted)
            homes = {name: registry for registry, names in devices.items() for name in names}
            found[setup] = Place(trusted, tuple(devices), homes)
        yield found


@pytest.fixture
def place(places: dict[str, Place], setup: str) -> Place:
    return places[setup]


COUNTS: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def counted(request: pytest.FixtureRequest) -> Iterator[None]:
    COUNTS.clear()
    yield
    told = ", ".join(f"{verb} {count}" for verb, count in COUNTS.items())
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        sys.stdout.write(f"\naccess rules: {COUNTS.total()} cells ({told})\n")


def check(verb: str, wanted: dict[str, bool], found: dict[str, bool]) -> None:
    COUNTS[verb] += len(wanted)
    wrong = {
        topic: f"wanted {wanted[topic]}, found {found.get(topic, False)}"
        for topic in wanted
        if wanted[topic] is not found.get(topic, False)
    }
    assert wrong == {}
    assert any(wanted.values()), "a table that lets nothing through proves nothing"
    assert not all(wanted.values())


def stamp(role: str, verb: str) -> Callable[[str], bytes]:
    return lambda topic: f"{verb} by {role} on {topic}".encode()


def arrived(watcher: Peer, mark: Callable[[str], bytes]) -> dict[str, bool]:
    watcher.settle()
    return {topic: True for topic, payload, _ in watcher.messages if payload == mark(topic)}


@EVERY_ROLE
def test_publish_reaches_only_the_topics_that_are_the_roles_own(place: Place, role: str) -> None:
    wanted = {topic: place.may(role, topic, write=True) for topic in TOPICS}
    with place.trusted.peer(OBSERVER) as watcher, place.trusted.peer(role) as peer:
        watcher.subscribe("#")
        reasons = peer.publish_many(TOPICS, stamp(role, "qos1"))
        check("publish", wanted, arrived(watcher, stamp(role, "qos1")))
        told = {topic: reason != NOT_AUTHORIZED for topic, reason in reasons.items()}
        check("publish is told", wanted, told)
        for topic in TOPICS:
            peer.publish(topic, stamp(role, "qos0")(topic), 0)
        peer.settle()
        check("publish, QoS 0", wanted, arrived(watcher, stamp(role, "qos0")))


@EVERY_ROLE
def test_nothing_foreign_stays_retained(place: Place, role: str) -> None:
    wanted = {topic: place.may(role, topic, write=True) for topic in TOPICS}
    with place.trusted.peer(role) as peer:
        peer.publish_many(TOPICS, stamp(role, "retained"), retain=True)
    with place.trusted.peer(OBSERVER) as watcher:
        watcher.subscribe("#")
        check("retain", wanted, arrived(watcher, stamp(role, "retained")))
        watcher.publish_many(TOPICS, lambda _: b"", retain=True)


@EVERY_ROLE
def test_a_will_reaches_only_the_topics_that_are_the_roles_own(place: Place, role: str) -> None:
    wanted = {topic: place.may(role, topic, write=True) for topic in TOPICS}
    mark = stamp(role, "will")
    with place.trusted.peer(OBSERVER) as watcher:
        watcher.subscribe("#")
        for topic in TOPICS:
            try:
                peer = place.trusted.peer(role, will=(topic, mark(topic)))
            except RefusedError:
                continue
            peer.drop()
        # The last connection's end has been seen when the same name is let in again.
        place.trusted.peer(role).leave()
        check("will", wanted, arrived(watcher, mark))


@pytest.mark.parametrize("form", ["exact", "all", "levels", "shared"])
@EVERY_ROLE
def test_a_subscription_brings_only_what_the_role_may_read(
    place: Place, role: str, form: str
) -> None:
    wanted = {topic: place.may(role, topic, write=False) for topic in TOPICS}
    filters = {
        "exact": TOPICS,
        "all": ("#",),
        "levels": ("+", "+/+", "+/+/+", "+/+/+/+", "+/devices/+/#", "/#"),
        "shared": tuple(f"$share/group/{topic}" for topic in TOPICS),
    }[form]
    mark = stamp(role, form)
    with place.trusted.peer(OBSERVER) as speaker, place.trusted.peer(role) as peer:
        peer.subscribe(*filters)
        speaker.publish_many(TOPICS, mark)
        check(f"receive ({form})", wanted, arrived(peer, mark))


@pytest.mark.parametrize("form", ["exact", "all"])
@EVERY_ROLE
def test_what_is_retained_is_handed_only_to_who_may_read_it(
    place: Place, role: str, form: str
) -> None:
    wanted = {topic: place.may(role, topic, write=False) for topic in TOPICS}
    mark = stamp(role, f"retained {form}")
    with place.trusted.peer(OBSERVER) as speaker:
        speaker.publish_many(TOPICS, mark, retain=True)
        with place.trusted.peer(role) as peer:
            peer.subscribe(*(TOPICS if form == "exact" else ("#",)))
            check(f"receive retained ({form})", wanted, arrived(peer, mark))
        speaker.publish_many(TOPICS, lambda _: b"", retain=True)


@EVERY_ROLE
def test_the_brokers_own_topics_are_nobodys(place: Place, role: str) -> None:
    with place.trusted.peer(OBSERVER) as watcher, place.trusted.peer(role) as peer:
        watcher.subscribe("$SYS/#")
        watcher.turn_until(lambda: bool(watcher.messages))  # the broker speaks of itself
        peer.subscribe("$SYS/#", "$CONTROL/#", *RESERVED)
        peer.settle()
        assert peer.messages == []
        for topic in RESERVED:
            COUNTS["reserved"] += 2
            try:
                assert peer.publish(topic, b"mine") == NOT_AUTHORIZED
            except RefusedError:
                peer = place.trusted.peer(role)  # thrown out for it: refused as well
        watcher.settle()
        assert b"mine" not in [payload for _, payload, _ in watcher.messages]


TOO_WIDE = {
    "a box confirms its own events": "pattern write home/devices/%u/receipts",
    "a box speaks for another": "pattern write home/devices/+/state",
    "a box reads another's commands": "pattern read home/devices/+/commands/#",
    "a box writes what it should obey": "pattern write home/devices/%u/config",
    "a box reads everything": "pattern read #",
    "a bridge reports events": "user bridge-home\ntopic write home/devices/+/events/#",
}
TOO_NARROW = {
    "a box cannot report": "user garden\ntopic deny home/devices/garden/events/#",
    "a bridge cannot confirm": "user bridge-home\ntopic deny home/devices/+/receipts",
}


@pytest.mark.parametrize("fault", [*TOO_WIDE, *TOO_NARROW])
def test_rules_that_are_wrong_on_purpose_are_noticed(fault: str, tmp_path: Path) -> None:
    mosquitto = require_tool("mosquitto")
    trusted = TrustedBroker(mosquitto, tmp_path, {"home": ("garden",)}, BRIDGES)
    rules = trusted.broker_dir / "acl"
    if fault in TOO_WIDE:
        rules.write_text(f"{rules.read_text()}\n{TOO_WIDE[fault]}\n")
    else:
        rules.write_text(f"{TOO_NARROW[fault]}\n{rules.read_text()}")
    with trusted:
        counts = COUNTS.copy()
        broken = Place(trusted, ("home",), {"garden": "home"})
        assert any(
            notices(table)
            for role in ("garden", "bridge-home")
            for table in (
                partial(test_publish_reaches_only_the_topics_that_are_the_roles_own, broken, role),
                partial(
                    test_a_subscription_brings_only_what_the_role_may_read, broken, role, "all"
                ),
            )
        ), "the tables pass broken rules"
    COUNTS.clear()
    COUNTS.update(counts)


def notices(table: Callable[[], None]) -> bool:
    try:
        table()
    except AssertionError:
        return True
    return False
