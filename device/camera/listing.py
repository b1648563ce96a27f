"""Which cameras this machine has, with the settings that choose each."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

try:
    import linuxpy.video.device as linuxpy_video
except ImportError:
    linuxpy_video = None  # the extra `usb` was not installed: said when somebody asks

from device.camera.pi_camera import load_library
from device.errors import TransientError

log = logging.getLogger(__name__)

NOT_CAMERAS = (
    "bcm2835-codec",
    "bcm2835-isp",
    "bcm2835-unicam",
    "pispbe",
    "rp1-cfe",
    "rpi-hevc-dec",
    "rpivid",
    "unicam",
)
"""Drivers of the Pi's own scalers, codecs and receivers: they look like capture devices, and
only libcamera can drive them."""


@dataclass(frozen=True, slots=True)
class FoundFormat:
    """name: as the driver calls it. sizes: (height, width) in pixels, largest first."""

    name: str
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCamera:
    """source: as in `[camera]`. where: the device file, or the number on the Pi."""

    source: Literal["picamera2", "usb"]
    name: str
    where: str
    formats: tuple[FoundFormat, ...] = ()

    @property
    def settings(self) -> str:
        """What to put into the settings file to use it."""
        place = (
            f"number = {self.where}" if self.source == "picamera2" else f'device = "{self.where}"'
        )
        return f'[camera]\nsource = "{self.source}"\n{place}\n'


@dataclass(frozen=True, slots=True)
class Listing:
    """hints: why something may be missing from `cameras`, for people."""

    cameras: tuple[FoundCamera, ...]
    hints: tuple[str, ...]


def _pi_camera_info() -> Sequence[Mapping[str, Any]]:
    info: Sequence[Mapping[str, Any]] = load_library().Picamera2.global_camera_info()
    return info


def list_cameras(
    pi_camera_info: Callable[[], Sequence[Mapping[str, Any]]] = _pi_camera_info,
    video: Any = linuxpy_video,  # noqa: ANN401 - linuxpy's module has no types
    dev: Path = Path("/dev"),
) -> Listing:
    """All that can be found; raises nothing, since a part that cannot be asked is a hint.

    pi_camera_info: `Picamera2.global_camera_info`, or raising TransientError where there is
    none. video: `linuxpy.video.device`, or a fake of it; None where it is not installed.
    """
    hints: list[str] = []
    cameras = [*_pi_cameras(pi_camera_info, hints), *_usb_cameras(video, hints)]
    hints += _locked(dev, cameras)
    return Listing(tuple(cameras), tuple(hints))


def _pi_cameras(
    pi_camera_info: Callable[[], Sequence[Mapping[str, Any]]], hints: list[str]
) -> Iterator[FoundCamera]:
    try:
        found = pi_camera_info()
    except TransientError as exc:
        hints.append(str(exc))
        return
    for number, info in enumerate(found):
        # libcamera drives USB cameras too; `usb` does so with less in between.
        if "/usb" not in str(info.get("Id", "")):
            name = str(info.get("Model", "unknown"))
            yield FoundCamera(source="picamera2", name=name, where=str(number))


def _usb_cameras(video: Any, hints: list[str]) -> Iterator[FoundCamera]:  # noqa: ANN401
    if video is None:
        hints.append(
            "USB cameras cannot be asked without linuxpy: `pip install 'lookout-appliance[usb]'`"
        )
        return
    kind = video.BufferType.VIDEO_CAPTURE
    try:
        for device in video.iter_video_capture_devices():
            with device:
                info = device.info
                if info.driver in NOT_CAMERAS:
                    continue
                formats = tuple(
                    FoundFormat(each.pixel_format.name, _sizes(info, each.pixel_format))
                    for each in info.buffer_formats(kind)
                )
                if formats:
                    yield FoundCamera(
                        source="usb", name=info.card, where=str(device.filename), formats=formats
                    )
    except (OSError, ValueError) as exc:
        hints.append(f"USB cameras cannot all be asked ({exc}); want them idle: plug in again")


def _sizes(info: Any, pixel_format: Any) -> tuple[tuple[int, int], ...]:  # noqa: ANN401 - linuxpy
    sizes = set()
    for each in info.format_frame_sizes(pixel_format):
        if each.type.name == "DISCRETE":
            sizes.add((each.info.height, each.info.width))
        else:  # any size in steps, from a smallest to this
            sizes.add((each.info.max_height, each.info.max_width))
    return tuple(sorted(sizes, reverse=True))


def _locked(dev: Path, cameras: Sequence[FoundCamera]) -> list[str]:
    files = sorted(str(path) for path in dev.glob("video*"))
    if files and not any(camera.source == "usb" for camera in cameras):
        return [
            f"{', '.join(files)} are there, and none is a camera that this user may open; want "
            "the user in the group `video` (sudo usermod -aG video $USER, then log in again)"
        ]
    return []
