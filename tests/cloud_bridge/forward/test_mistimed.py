"""What a bridge says when a connection fails for the sake of time, and before its certificate
ends."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud_bridge.clocks import HandClock
from cloud_bridge.config import MqttConfig, TlsConfig
from cloud_bridge.forward.mistimed import EXPIRED, NOT_YET_VALID, Mistimed, Validity
from tests.kit.certificates import dated

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def clock_at(moment: datetime) -> HandClock:
    return HandClock(round(moment.timestamp()) * 1_000_000_000)


def refusal(code: int) -> ssl.SSLCertVerificationError:
    exc = ssl.SSLCertVerificationError(1, "certificate verify failed")
    exc.verify_code, exc.verify_message = code, "certificate has expired"
    return exc


def config(folder: Path, begins: datetime = NOW - DAY, ends: datetime = NOW + DAY) -> MqttConfig:
    certificate, key = dated(folder, begins, ends)
    return MqttConfig(host="broker.local", tls=TlsConfig(cert_file=certificate, key_file=key))


def test_its_own_that_has_expired_is_named_with_its_end(tmp_path: Path) -> None:
    said = Mistimed(config(tmp_path, NOW - 3 * DAY, NOW - DAY), clock_at(NOW)).of_end()
    assert said is not None
    assert f"the bridge's own certificate ([mqtt.tls] cert_file {tmp_path}/dated.crt)" in said
    assert "counted until 2026-11-23 12:00 UTC" in said
    assert "lookout-cloud broker bridge" in said


def test_its_own_that_does_not_count_yet_asks_for_the_clock(tmp_path: Path) -> None:
    said = Mistimed(config(tmp_path, NOW + DAY, NOW + 2 * DAY), clock_at(NOW)).of_end()
    assert said is not None
    assert "counts only from 2026-11-25 12:00 UTC on" in said
    assert "clock says 2026-11-24 12:00 UTC; set the clock" in said


def test_time_is_not_the_reason_when_all_is_in_its_time(tmp_path: Path) -> None:
    mistimed = Mistimed(config(tmp_path), clock_at(NOW))
    assert mistimed.of_end() is None
    assert mistimed.soon() is not None  # it ends tomorrow
    unknown_authority = 20
    assert mistimed.of_exception(refusal(unknown_authority)) is None
    assert mistimed.of_exception(ConnectionRefusedError()) is None
    assert Mistimed(MqttConfig(), clock_at(NOW)).of_end() is None


@pytest.mark.parametrize(
    ("code", "begins", "ends", "said"),
    [
        (EXPIRED, NOW - 3 * DAY, NOW - DAY, "the broker's certificate counted until 2026-11-23"),
        (NOT_YET_VALID, NOW + DAY, NOW + 2 * DAY, "the broker's certificate counts only from 2026"),
        (EXPIRED, NOW - DAY, NOW + DAY, "the certificate of its authority is out of its time"),
    ],
)
def test_the_brokers_is_looked_at_since_a_failed_handshake_does_not_tell(
    tmp_path: Path, code: int, begins: datetime, ends: datetime, said: str
) -> None:
    mistimed = Mistimed(config(tmp_path), clock_at(NOW), lambda *_: Validity(begins, ends))
    found = mistimed.of_exception(refusal(code))
    assert found is not None
    assert said in found


def test_a_bridge_whose_clock_is_not_set_blames_its_clock_and_no_certificate(
    tmp_path: Path,
) -> None:
    clock = clock_at(datetime(1970, 1, 1, tzinfo=UTC))
    mistimed = Mistimed(config(tmp_path), clock, lambda *_: Validity(NOW - DAY, NOW + DAY))
    for found in (mistimed.of_exception(refusal(NOT_YET_VALID)), mistimed.of_end()):
        assert found is not None
        assert "this machine's clock says 1970-01-01" in found
        assert "counts only" not in found
    assert mistimed.soon() is None


@pytest.mark.parametrize(
    ("days_left", "said"), [(31, None), (29, "counts until 2026-12-23"), (-1, "counted until")]
)
def test_its_end_is_told_a_month_before(tmp_path: Path, days_left: int, said: str | None) -> None:
    ours = config(tmp_path, NOW - 99 * DAY, NOW + days_left * DAY)
    found = Mistimed(ours, clock_at(NOW)).soon()
    assert (found is None) if said is None else (found is not None and said in found)


def test_a_renewed_one_is_seen_within_an_hour(tmp_path: Path) -> None:
    clock = clock_at(NOW)
    mistimed = Mistimed(config(tmp_path, NOW - DAY, NOW + DAY), clock)
    assert mistimed.soon() is not None
    dated(tmp_path, NOW - DAY, NOW + 700 * DAY)
    clock.advance(3601.0)
    assert mistimed.soon() is None


def test_without_a_certificate_nothing_ends() -> None:
    assert Mistimed(MqttConfig(), clock_at(NOW)).soon() is None
