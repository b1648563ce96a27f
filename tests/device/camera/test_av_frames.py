import numpy as np
import pytest
from av.video.frame import VideoFrame

from device.camera.av_frames import to_yuv420
from tests.clips import BT601, BT709, FULL, LIMITED, yuv_frame, yuv_of

RED = (200, 30, 60)


def colour_of(name: str, range_: int, space: int, size: tuple[int, int] = (64, 48)) -> VideoFrame:
    """A plain red frame in another layout, made by swscale from RGB."""
    width_px, height_px = size
    frame = VideoFrame.from_ndarray(
        np.full((height_px, width_px, 3), RED, np.uint8), format="rgb24"
    ).reformat(
        format=name,
        dst_colorspace="ITU709" if space == BT709 else "ITU601",
        dst_color_range="JPEG" if range_ == FULL else "MPEG",
    )
    frame.color_range, frame.colorspace = range_, space
    return frame


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le"])
@pytest.mark.parametrize("range_", [FULL, LIMITED])
@pytest.mark.parametrize("space", [BT601, BT709])
def test_colours_survive_every_layout(name: str, range_: int, space: int) -> None:
    image = to_yuv420(colour_of(name, range_, space))
    assert image.is_full_range == (range_ == FULL)
    assert image.is_bt709 == (space == BT709)
    got = [image.y[20, 20], image.u[10, 10], image.v[10, 10]]
    np.testing.assert_allclose(got, yuv_of(RED, range_ == FULL, space == BT709), atol=3)


def test_the_old_names_mean_full_range() -> None:
    image = to_yuv420(yuv_frame(0, is_full=True))
    assert image.is_full_range


def test_rgb_becomes_what_it_says_it_is() -> None:
    pixels = np.full((1080, 1920, 3), RED, np.uint8)
    image = to_yuv420(VideoFrame.from_ndarray(pixels, format="rgb24"))
    got = [image.y[20, 20], image.u[10, 10], image.v[10, 10]]
    np.testing.assert_allclose(got, yuv_of(RED, image.is_full_range, image.is_bt709), atol=3)


@pytest.mark.parametrize(("size", "expected"), [((1280, 720), True), ((640, 480), False)])
def test_where_nobody_says_the_height_decides_the_matrix(
    size: tuple[int, int], expected: bool
) -> None:
    frame = VideoFrame(*size, "yuv420p")
    assert to_yuv420(frame).is_bt709 == expected
    assert not to_yuv420(frame, is_jpeg=True).is_bt709


@pytest.mark.parametrize("size", [(30, 20), (31, 21), (33, 2), (160, 121)])
def test_the_padding_of_lines_is_cut_off(size: tuple[int, int]) -> None:
    width_px, height_px = size
    frame = VideoFrame(width_px, height_px, "yuv420p")
    for plane in frame.planes:
        lines = np.full((plane.buffer_size,), 0xEE, np.uint8)
        rows = lines[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = np.arange(plane.width)
        plane.update(lines.tobytes())
    image = to_yuv420(frame)
    assert image.y.shape == (height_px, width_px)
    assert image.u.shape == image.v.shape == ((height_px + 1) // 2, (width_px + 1) // 2)
    for plane_pixels in (image.y, image.u, image.v):
        assert (plane_pixels == np.arange(plane_pixels.shape[1])).all()
        assert plane_pixels.flags.c_contiguous


class Turned:
    """A decoded frame whose file says that it was filmed with the phone on its side."""

    def __init__(self, frame: VideoFrame, rotation: int) -> None:
        self._frame = frame
        self.rotation = rotation

    def __getattr__(self, name: str) -> object:
        return getattr(self._frame, name)


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (-90, 3), (180, 2), (-180, 2)])
def test_a_frame_is_turned_as_its_file_says(rotation: int, turns: int) -> None:
    frame = yuv_frame(3)
    upright = to_yuv420(frame)
    turned = to_yuv420(Turned(frame, rotation))  # type: ignore[arg-type]
    for plane, before in [(turned.y, upright.y), (turned.u, upright.u), (turned.v, upright.v)]:
        np.testing.assert_array_equal(plane, np.rot90(before, turns))
