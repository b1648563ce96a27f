"""What a box says when a connection fails for the sake of time: which certificate, until when, and
what to do; or that its own clock is wrong."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from device.clocks import HandClock
from device.config import MqttConfig, TlsConfig
from device.messaging.certificate import Validity
from device.messaging.mistimed import EXPIRED, NOT_YET_VALID, Mistimed
from tests.kit.certificates import dated

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def ns(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000_000


def clock_at(moment: datetime) -> HandClock:
    clock = HandClock(ns(moment))
    clock.minute = None if moment.year < 2025 else 0
    return clock


def refusal(code: int) -> ssl.SSLCertVerificationError:
    exc = ssl.SSLCertVerificationError(1, "certificate verify failed")
    exc.verify_code, exc.verify_message = code, "certificate has expired"
    return exc


def config(folder: Path, begins: datetime = NOW - DAY, ends: datetime = NOW + DAY) -> MqttConfig:
    certificate, key = dated(folder, begins, ends)
    tls = TlsConfig(ca_file=folder / "ca.crt", cert_file=certificate, key_file=key)
    return MqttConfig(host="broker.local", tls=tls)


def shown(begins: datetime, ends: datetime) -> Validity:
    return Validity(ns(begins), ns(ends))


def test_our_own_that_has_expired_is_named_with_its_end(tmp_path: Path) -> None:
    ours = config(tmp_path, NOW - 3 * DAY, NOW - DAY)
    said = Mistimed(ours, clock_at(NOW)).of_end()
    assert said is not None
    assert f"own certificate ([mqtt.tls] cert_file {tmp_path}/dated.crt)" in said
    assert "counted until 2026-11-23 12:00 UTC" in said
    assert "lookout-cloud device renew" in said


def test_our_own_that_does_not_count_yet_asks_for_the_clock(tmp_path: Path) -> None:
    ours = config(tmp_path, NOW + DAY, NOW + 2 * DAY)
    said = Mistimed(ours, clock_at(NOW)).of_end()
    assert said is not None
    assert "counts only from 2026-11-25 12:00 UTC on" in said
    assert "clock says 2026-11-24 12:00 UTC; set the clock" in said


def test_time_is_not_the_reason_when_all_is_in_its_time(tmp_path: Path) -> None:
    mistimed = Mistimed(config(tmp_path), clock_at(NOW))
    assert mistimed.of_end() is None
    unknown_authority = 20
    assert mistimed.of_exception(refusal(unknown_authority), "10.0.0.1") is None
    assert mistimed.of_exception(ConnectionRefusedError(), "10.0.0.1") is None
    assert Mistimed(MqttConfig(), clock_at(NOW)).of_end() is None


@pytest.mark.parametrize(
    ("code", "begins", "ends", "said"),
    [
        (EXPIRED, NOW - 3 * DAY, NOW - DAY, "counted until 2026-11-23 12:00 UTC"),
        (NOT_YET_VALID, NOW + DAY, NOW + 2 * DAY, "counts only from 2026-11-25 12:00 UTC on"),
    ],
)
def test_the_brokers_is_looked_at_since_a_failed_handshake_does_not_tell(
    tmp_path: Path, code: int, begins: datetime, ends: datetime, said: str
) -> None:
    asked: list[tuple[str, int]] = []

    def look(address: str, port: int) -> Validity:
        asked.append((address, port))
        return shown(begins, ends)

    mistimed = Mistimed(config(tmp_path), clock_at(NOW), look)
    found = mistimed.of_exception(refusal(code), "10.0.0.1")
    assert found is not None
    assert f"the broker's certificate {said}" in found
    assert asked == [("10.0.0.1", 8883)]


def test_an_authority_out_of_its_time_is_told_from_the_broker(tmp_path: Path) -> None:
    mistimed = Mistimed(config(tmp_path), clock_at(NOW), lambda *_: shown(NOW - DAY, NOW + DAY))
    found = mistimed.of_exception(refusal(EXPIRED), "10.0.0.1")
    assert found is not None
    assert "the certificate of its authority is out of its time" in found
    assert str(tmp_path / "ca.crt") in found


def test_a_broker_that_shows_nothing_is_told_as_far_as_it_is_known(tmp_path: Path) -> None:
    mistimed = Mistimed(config(tmp_path), clock_at(NOW), lambda *_: None)
    found = mistimed.of_exception(refusal(EXPIRED), "10.0.0.1")
    assert found is not None
    assert "the broker's certificate is out of its time (certificate has expired)" in found


@pytest.mark.parametrize("year", [1970, 2000, 2024])
def test_a_box_whose_clock_is_not_set_blames_its_clock_and_no_certificate(
    tmp_path: Path, year: int
) -> None:
    """Good certificates all of them: they seem not to count yet."""
    clock = clock_at(datetime(year, 1, 1, 0, 5, tzinfo=UTC))
    mistimed = Mistimed(config(tmp_path), clock, lambda *_: shown(NOW - DAY, NOW + DAY))
    for found in (mistimed.of_exception(refusal(NOT_YET_VALID), "10.0.0.1"), mistimed.of_end()):
        assert found is not None
        assert f"this box's clock says {year}-01-01 00:05 UTC" in found
        assert "set the clock" in found
        assert "counts only" not in found
