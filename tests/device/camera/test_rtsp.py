import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from device.camera.rtsp import RtspCamera
from device.clocks import SystemClock
from device.config import CameraConfig
from device.core.images import Frame, Yuv420
from device.errors import TransientError
from tests.clips import COLOUR, yuv_of
from tests.rtsp_server import RATE, RtspServer

CLOCK = SystemClock()
NAME, PASSWORD = "owner", "p@ss:w/rd #1%41"


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer() as made:
        yield made


def config(url: str, **settings: object) -> CameraConfig:
    return CameraConfig.model_validate(
        {"source": "rtsp", "url": url, "frames_per_s": 100.0, **settings}
    )


def read_some(camera: RtspCamera, count: int) -> list[Frame]:
    frames = [camera.read(timeout_s=5.0) for _ in range(count)]
    return [frame for frame in frames if frame is not None]


def test_the_colours_arrive(server: RtspServer) -> None:
    camera = RtspCamera(config(server.url), CLOCK)
    frame = camera.read(timeout_s=5.0)
    camera.close()
    assert frame is not None
    assert isinstance(frame.main, Yuv420)
    got = [frame.main.y[100, 100], frame.main.u[50, 50], frame.main.v[50, 50]]
    np.testing.assert_allclose(got, yuv_of(COLOUR, False, False), atol=3)
    assert not frame.main.is_full_range
    assert not frame.main.is_bt709


def test_who_reads_slowly_gets_the_newest_frame_and_no_backlog(server: RtspServer) -> None:
    camera = RtspCamera(config(server.url), CLOCK)
    first = read_some(camera, 1)[0]
    late = 12
    while True:  # the drain goes on without a reader; its count tells how far
        frame = camera.read(timeout_s=5.0)
        assert frame is not None
        if frame.sequence >= first.sequence + late:
            break
        Event().wait(3 / RATE)  # as long as an inference takes
    age_s = (CLOCK.monotonic_ns() - frame.captured_ns) / 1e9
    camera.close()
    assert age_s < 0.5


def test_the_asked_rate_is_kept(server: RtspServer) -> None:
    camera = RtspCamera(config(server.url, frames_per_s=5.0), CLOCK)
    frames = read_some(camera, 4)
    camera.close()
    steps_s = np.diff([frame.captured_ns for frame in frames]) / 1e9
    assert len(frames) == 4
    assert steps_s.mean() == pytest.approx(0.2, abs=0.08)


def test_after_a_silence_the_stream_goes_on(server: RtspServer) -> None:
    camera = RtspCamera(config(server.url), CLOCK)
    read_some(camera, 1)
    server.fall_silent()
    while camera.read(timeout_s=0.2) is not None:
        pass
    assert camera.read(timeout_s=0.1) is None
    server.speak()
    assert read_some(camera, 1)
    camera.close()


def test_a_silence_that_lasts_is_a_failure(server: RtspServer) -> None:
    camera = RtspCamera(config(server.url), CLOCK, silence_s=0.3)
    read_some(camera, 1)
    server.fall_silent()
    with pytest.raises(TransientError, match="answered nothing within"):  # noqa: PT012
        for _ in range(50):
            camera.read(timeout_s=0.2)
    camera.close()


def test_a_camera_that_hangs_up_is_a_failure_and_can_be_opened_again(server: RtspServer) -> None:
    camera = RtspCamera(config(server.url), CLOCK)
    read_some(camera, 1)
    server.hang_up()
    with pytest.raises(TransientError, match="stream"):  # noqa: PT012
        for _ in range(50):
            camera.read(timeout_s=0.2)
    camera.close()
    again = RtspCamera(config(server.url), CLOCK)
    assert read_some(again, 2)
    again.close()


def test_an_address_that_accepts_and_says_nothing_is_given_up_in_time() -> None:
    with RtspServer(is_mute=True) as server:
        began_ns = CLOCK.monotonic_ns()
        with pytest.raises(TransientError, match=r"answered nothing within 0\.5 s"):
            RtspCamera(config(server.url), CLOCK, open_s=0.5)
        assert CLOCK.monotonic_ns() - began_ns < 3e9


def test_where_nothing_listens_it_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TransientError, match="nothing listens at"):
        RtspCamera(config(f"rtsp://127.0.0.1:{port}/stream1"), CLOCK)


def test_a_name_that_nobody_knows_says_so() -> None:
    with pytest.raises(TransientError, match="want an RTSP camera"):
        RtspCamera(config("rtsp://camera.invalid/stream1"), CLOCK, open_s=2.0)


def test_a_server_that_speaks_something_else_says_so() -> None:
    with RtspServer() as server:
        wrong = server.url.replace("stream1", "elsewhere")
        with pytest.raises(TransientError, match="no stream of that name"):
            RtspCamera(config(wrong), CLOCK)


def test_name_and_password_are_given_to_the_camera(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD + "\n")
    with RtspServer(f"{NAME}:{PASSWORD}") as server:
        asked = config(server.url, username=NAME, password_file=password_file)
        camera = RtspCamera(asked, CLOCK)
        assert read_some(camera, 1)
        camera.close()


def _wrong(url: str) -> str:
    return url


def _absent(url: str) -> str:
    return url.replace("stream1", "elsewhere")


def _refused(_: str) -> str:
    return "rtsp://127.0.0.1:1/stream1"


@pytest.mark.parametrize("where", [_wrong, _absent, _refused])
def test_no_message_and_no_log_tells_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: Callable[[str], str]
) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("s3cret")
    with RtspServer(f"{NAME}:other") as server, caplog.at_level(logging.DEBUG):
        asked = config(where(server.url), username=NAME, password_file=password_file)
        with pytest.raises(TransientError) as raised:
            RtspCamera(asked, CLOCK)
    told: list[str] = [caplog.text]
    error: BaseException | None = raised.value
    while error is not None:
        told += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    assert "s3cret" not in "\n".join(told)


def test_the_description_shows_no_password(server: RtspServer) -> None:
    """Settings refuse one in the address; were there one all the same, it would not be told."""
    url = server.url.replace("//", "//owner:s3cret@")
    camera = RtspCamera(config(server.url).model_copy(update={"url": url}), CLOCK)
    described = camera.description
    camera.close()
    assert "s3cret" not in described
    assert "127.0.0.1" in described


def test_a_password_file_that_is_not_there_says_so(server: RtspServer, tmp_path: Path) -> None:
    asked = config(server.url, username=NAME, password_file=tmp_path / "absent")
    with pytest.raises(TransientError, match=r"password file .* cannot be read"):
        RtspCamera(asked, CLOCK)
