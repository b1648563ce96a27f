"""Who has which certificate."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.errors import ConfigError
from cloud_bridge.trust.ledger import Entry, Ledger, ledger_text, parse_ledger

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def entry(serial: str, name: str = "garden", days: int = 365) -> Entry:
    return Entry(
        serial=serial, name=name, role="device", registry="home",
        not_before=NOW - DAY, not_after=NOW + days * DAY,
    )  # fmt: skip


MOMENTS = st.integers(0, 2**33).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
ENTRIES = st.builds(
    Entry,
    serial=st.from_regex(r"[0-9A-F]{2,40}", fullmatch=True),
    name=st.text(min_size=1, max_size=64),
    role=st.sampled_from(["device", "bridge", "broker", "eviction"]),
    registry=st.none() | st.text(max_size=64),
    not_before=MOMENTS,
    not_after=MOMENTS,
    revoked=st.none() | MOMENTS,
)


@given(st.builds(Ledger, st.lists(ENTRIES, max_size=5).map(tuple), st.integers(0, 2**40)))
def test_a_ledger_is_read_as_it_was_written(ledger: Ledger) -> None:
    assert parse_ledger(ledger_text(ledger), "here") == ledger


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_damaged_and_nothing_worse(text: bytes) -> None:
    with pytest.raises(ConfigError, match="here is damaged"):
        parse_ledger(text, "here")


def test_the_newest_supersedes() -> None:
    ledger = Ledger((entry("AA"), entry("BB"), entry("CC", "shed")))
    assert [ledger.standing(each, NOW) for each in ledger.entries] == [
        "superseded",
        "valid",
        "valid",
    ]


@pytest.mark.parametrize(
    ("days", "standing"),
    [(91, "valid"), (90, "valid"), (89, "ends soon"), (1, "ends soon"), (0, "expired")],
)
def test_the_end_is_announced_from_90_days_on(days: int, standing: str) -> None:
    ledger = Ledger((entry("AA", days=days),))
    assert ledger.standing(ledger.entries[0], NOW) == standing


def test_revoked_counts_no_more_and_keeps_its_time() -> None:
    ledger = Ledger((entry("AA"), entry("BB"))).revoking(["AA"], NOW)
    again = ledger.revoking(["AA"], NOW + DAY)
    assert again == ledger
    assert [each.serial for each in ledger.active("garden", "device", NOW)] == ["BB"]


def test_evictions_are_nobodys() -> None:
    ledger = Ledger((entry("AA"), replace(entry("BB"), role="eviction")))
    assert [each.serial for each in ledger.of("garden", "device")] == ["AA"]
    assert ledger.names("device", NOW) == ("garden",)


def test_a_box_that_is_called_as_the_brokers_host_is_still_itself() -> None:
    broker = replace(entry("BB"), role="broker", registry=None)
    ledger = Ledger((entry("AA"), broker))
    assert [ledger.standing(each, NOW) for each in ledger.entries] == ["valid", "valid"]
    assert [each.serial for each in ledger.active("garden", "device", NOW)] == ["AA"]
    assert ledger.registry_of("garden") == "home"
    assert ledger.roles_of("garden") == ("device", "broker")


def test_an_expired_name_is_free_again() -> None:
    ledger = Ledger((entry("AA", days=-1),))
    assert ledger.active("garden", "device", NOW) == ()
    assert ledger.names("device", NOW) == ()
