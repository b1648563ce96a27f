import logging
import os
from pathlib import Path

import numpy as np
import pytest

from device.camera.video_file import VideoFile
from device.clocks import HandClock
from device.config import CameraConfig
from device.core.images import Frame, Yuv420
from device.errors import SourceEndedError, TransientError
from tests.clips import COLOUR, HEIGHT_PX, WIDTH_PX, write_clip, yuv_of


def open_clip(path: Path, clock: HandClock, **settings: object) -> VideoFile:
    config = CameraConfig.model_validate(
        {"source": "video", "path": path, "frames_per_s": 50.0, **settings}
    )
    return VideoFile(config, clock, wait=clock.advance)


def read(camera: VideoFile) -> tuple[Frame, Yuv420]:
    frame = camera.read(timeout_s=5.0)
    assert frame is not None
    assert isinstance(frame.main, Yuv420)
    return frame, frame.main


def square_left(image: Yuv420) -> int:
    """Left edge of the white square in pixels."""
    ground = float(image.y[100, 100])
    bright = image.y[20].astype(float) > (ground + float(image.y[12:28].max())) / 2
    return int(np.argmax(bright))


@pytest.mark.parametrize(
    ("codec", "is_full", "is_bt709"),
    [
        ("libx264", False, False),
        ("libx264", False, True),
        ("libx264", True, False),
        ("libx264", True, True),
        ("mpeg4", False, False),
        ("mjpeg", True, False),
    ],
)
def test_the_colours_arrive_with_their_meaning(
    tmp_path: Path, codec: str, is_full: bool, is_bt709: bool
) -> None:
    path = write_clip(
        tmp_path / "clip.mp4", frames=3, codec=codec, is_full=is_full, is_bt709=is_bt709
    )
    _, image = read(open_clip(path, HandClock()))
    assert (image.is_full_range, image.is_bt709) == (is_full, is_bt709)
    assert image.size == (HEIGHT_PX, WIDTH_PX)
    got = [image.y[100, 100], image.u[50, 50], image.v[50, 50]]
    np.testing.assert_allclose(got, yuv_of(COLOUR, is_full, is_bt709), atol=3)


def test_it_plays_at_its_own_speed(tmp_path: Path) -> None:
    clock = HandClock()
    camera = open_clip(write_clip(tmp_path / "clip.mp4", frames=5, rate=20), clock)
    began_ns = clock.monotonic_ns()
    read_frames = [read(camera) for _ in range(5)]
    times = [(frame.captured_ns - began_ns) / 1e9 for frame, _ in read_frames]
    np.testing.assert_allclose(times, [0, 0.05, 0.10, 0.15, 0.20], atol=1e-3)
    assert [square_left(image) for _, image in read_frames] == [0, 4, 8, 12, 16]


def test_of_a_faster_clip_only_the_asked_rate_is_given(tmp_path: Path) -> None:
    clock = HandClock()
    path = write_clip(tmp_path / "clip.mp4", frames=20, rate=20)
    camera = open_clip(path, clock, frames_per_s=5.0)
    assert [square_left(read(camera)[1]) for _ in range(4)] == [0, 16, 32, 48]


def test_a_caller_that_is_a_little_late_gets_the_newest_frame(tmp_path: Path) -> None:
    clock = HandClock()
    camera = open_clip(write_clip(tmp_path / "clip.mp4", frames=20, rate=20), clock)
    read(camera)
    clock.advance(0.26)
    assert square_left(read(camera)[1]) == 5 * 4


def test_for_a_caller_that_is_very_late_the_clip_waits(tmp_path: Path) -> None:
    clock = HandClock()
    camera = open_clip(write_clip(tmp_path / "clip.mp4", frames=20, rate=20), clock)
    read(camera)
    clock.advance(600.0)
    assert square_left(read(camera)[1]) == 4
    assert square_left(read(camera)[1]) == 8


def test_a_read_waits_no_longer_than_its_timeout(tmp_path: Path) -> None:
    clock = HandClock()
    camera = open_clip(write_clip(tmp_path / "clip.mp4", rate=2), clock)
    read(camera)
    began_ns = clock.monotonic_ns()
    assert camera.read(timeout_s=0.2) is None
    assert clock.monotonic_ns() - began_ns == 200_000_000


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.h264"])
def test_it_begins_again_and_its_time_and_sequence_go_on(tmp_path: Path, name: str) -> None:
    clock = HandClock()
    camera = open_clip(write_clip(tmp_path / name, frames=4, rate=20), clock)
    read_frames = [read(camera) for _ in range(10)]
    assert [square_left(image) for _, image in read_frames] == [0, 4, 8, 12] * 2 + [0, 4]
    sequences = [frame.sequence for frame, _ in read_frames]
    assert sequences == list(range(sequences[0], sequences[0] + 10))
    times = [frame.captured_ns for frame, _ in read_frames]
    steps_s = np.diff(times) / 1e9  # an .avi with B frames tells times that are partly guesses
    assert steps_s.min() > 0.03
    assert steps_s.max() < 0.12


def test_at_the_end_it_stops_if_told_to(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", frames=4, rate=20)
    camera = open_clip(path, HandClock(), at_end="stop")
    assert [square_left(read(camera)[1]) for _ in range(4)] == [0, 4, 8, 12]
    with pytest.raises(SourceEndedError, match="at_end is stop"):
        camera.read(timeout_s=1.0)


def test_of_a_clip_that_was_cut_the_whole_part_is_played(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", frames=40, options={"g": "10"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    camera = open_clip(path, HandClock(), at_end="stop")
    given = 0
    with pytest.raises(SourceEndedError):  # noqa: PT012 - how many come before is what counts
        while True:
            read(camera)
            given += 1
    assert 10 <= given < 40


def test_damage_inside_a_clip_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "clip.avi", frames=40, codec="mjpeg", is_full=True)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xd8", len(content) // 2)
    end = content.index(b"\xff\xd9", at)
    content[at:end] = bytes(end - at)
    path.write_bytes(bytes(content))
    camera = open_clip(path, HandClock(), at_end="stop")
    given = 0
    with caplog.at_level(logging.WARNING), pytest.raises(SourceEndedError):  # noqa: PT012
        while True:
            read(camera)
            given += 1
    assert 35 <= given <= 39
    assert "damaged" in caplog.text


def test_a_file_that_is_no_video_says_so(tmp_path: Path) -> None:
    text = tmp_path / "clip.mp4"
    text.write_text("this is no video\n" * 100)
    with pytest.raises(
        TransientError, match=r"cannot be opened as video .* want a whole video file"
    ):
        open_clip(text, HandClock())


def test_a_clip_cut_so_that_its_index_is_gone_says_so(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4")  # an .mp4 has its index at the end
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(TransientError, match="it may be cut"):
        open_clip(path, HandClock())


@pytest.mark.parametrize("content", [b"", b"\0" * 5000])
def test_an_empty_file_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(TransientError, match="want a whole video file"):
        open_clip(path, HandClock())


def test_no_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="there is no file"):
        open_clip(tmp_path / "absent.mp4", HandClock())
    with pytest.raises(TransientError, match="cannot be opened as video"):
        open_clip(tmp_path, HandClock())


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_a_title_in_another_encoding_is_nothing_to_us(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"clip.{suffix}", frames=3, codec="mpeg4", title="Gartentuer_XX")
    path.write_bytes(path.read_bytes().replace(b"Gartentuer_XX", b"Gartent\xfcr_XXX"))
    config = CameraConfig.model_validate({"source": "video", "path": path})
    assert VideoFile(config, HandClock()).read(timeout_s=1.0) is not None


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    config = CameraConfig.model_validate({"source": "video", "path": tmp_path / "clip.mp4"})
    with pytest.raises(TransientError, match="no plain file"):
        VideoFile(config, HandClock())
