import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from device.camera.fake_v4l2 import FakeV4l2, FakeWebcam
from device.camera.listing import FoundFormat, Listing, list_cameras
from device.config import Config
from device.errors import TransientError

USB_ID = "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.2:1.0-046d:0825"
PI_CAMERAS: list[dict[str, object]] = [
    {"Model": "imx708", "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Location": 2},
    {"Model": "C270 HD WEBCAM", "Id": USB_ID},
    {"Model": "imx219", "Id": "/base/soc/i2c0mux/i2c@0/imx219@10", "Location": 2},
]


def no_pi() -> Sequence[Mapping[str, object]]:
    raise TransientError("the Pi camera's libraries cannot be loaded")


def found(*webcams: FakeWebcam, dev: Path = Path("/nowhere")) -> Listing:
    return list_cameras(no_pi, FakeV4l2(*webcams), dev)


def test_pi_cameras_come_with_their_number_and_without_usb_ones() -> None:
    listing = list_cameras(lambda: PI_CAMERAS, FakeV4l2(), Path("/nowhere"))
    assert [(camera.source, camera.name, camera.where) for camera in listing.cameras] == [
        ("picamera2", "imx708", "0"),
        ("picamera2", "imx219", "2"),
    ]
    assert listing.hints == ()


def test_usb_cameras_come_with_formats_and_sizes() -> None:
    [camera] = found(FakeWebcam("/dev/video2", "C920", size=(720, 1280))).cameras
    assert (camera.source, camera.name, camera.where) == ("usb", "C920", "/dev/video2")
    sizes = ((720, 1280),)
    assert camera.formats == (FoundFormat("YUYV", sizes), FoundFormat("MJPEG", sizes))


def test_the_pis_own_scalers_and_what_gives_no_pictures_are_left_out() -> None:
    listing = found(
        FakeWebcam("/dev/video0", "unicam", driver="unicam"),
        FakeWebcam("/dev/video13", "bcm2835-isp", driver="bcm2835-isp"),
        FakeWebcam("/dev/video3", "C920 metadata", formats=[]),
        FakeWebcam("/dev/video2", "C920"),
    )
    assert [camera.where for camera in listing.cameras] == ["/dev/video2"]


def test_the_settings_to_paste_are_settings() -> None:
    cameras = [
        *list_cameras(lambda: PI_CAMERAS, FakeV4l2(), Path("/nowhere")).cameras,
        *found(FakeWebcam("/dev/video2", "C920")).cameras,
    ]
    for camera in cameras:
        config = Config.model_validate(tomllib.loads(camera.settings)).camera
        assert config.source == camera.source
        assert camera.where in (config.device, str(config.number))


def test_a_machine_without_the_pis_libraries_says_so_and_lists_the_rest() -> None:
    listing = found(FakeWebcam())
    assert len(listing.cameras) == 1
    assert listing.hints == ("the Pi camera's libraries cannot be loaded",)


def test_cameras_that_the_user_may_not_open_are_a_hint(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    listing = found(dev=tmp_path)
    assert listing.cameras == ()
    assert "group `video`" in listing.hints[-1]


def test_a_camera_that_fails_when_asked_is_a_hint() -> None:
    webcam = FakeWebcam()
    webcam.unplug()
    listing = found(webcam)
    assert listing.cameras == ()
    assert "cannot all be asked" in listing.hints[-1]


def test_without_linuxpy_the_list_says_what_to_install() -> None:
    found = list_cameras(pi_camera_info=list, video=None)
    assert any("lookout-appliance[usb]" in hint for hint in found.hints)
