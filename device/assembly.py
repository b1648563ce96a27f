"""The only file that names adapters; each is imported inside the branch that chose it, so that a
laptop runs without the Pi's libraries."""

import logging
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.clocks import SystemClock
from device.config import CameraConfig, Config
from device.core.bundle import Bundle
from device.core.delivery import SPARE_FIRST_ROW
from device.core.images import Image, Rectangle
from device.errors import ModelError, TransientError
from device.ports import (
    Album,
    Answer,
    BundleStore,
    Camera,
    Classifier,
    Clock,
    Control,
    Outbox,
    Pins,
    PressCallback,
    PreviousRun,
    Runtime,
    SmallFile,
    Uplink,
    Vitals,
)
from device.wire.names import RunId
from device.wire.state import Backend

if TYPE_CHECKING:
    from device.camera.listing import Listing

log = logging.getLogger(__name__)

DISTRIBUTION = "lookout-appliance"
ALBUM_RESERVE_BYTES = 16_000_000
"""Of the disk, that pictures leave to events."""
SPARE_BYTES = 20_000_000
"""Of events in memory while the disk fails: the box must not die of what it cannot write."""


def lookout_version() -> str:
    """Of the installed distribution."""
    return version(DISTRIBUTION)


def system_clock() -> Clock:
    return SystemClock()


def jitter() -> float:
    """Random, 0 to 1; spreads retries, guards nothing."""
    return random.random()  # noqa: S311 - no secret depends on it


def open_runtime(name: str = "auto") -> Runtime:
    """The TFLite runtime called `name`; `auto`: ai-edge-litert where it is installed, else
    tflite-runtime, unless the environment's LOOKOUT_RUNTIME names one.

    Raises:
        ModelError: it is not installed.
    """
    wanted = (os.environ.get("LOOKOUT_RUNTIME") or "auto") if name == "auto" else name
    missing = []
    if wanted in ("auto", "ai-edge-litert"):
        try:
            from device.inference.litert_runtime import LitertRuntime

            return LitertRuntime()
        except ImportError as exc:
            missing.append(f"ai-edge-litert ({exc})")
    if wanted in ("auto", "tflite-runtime"):
        try:
            from device.inference.legacy_runtime import LegacyRuntime

            return LegacyRuntime()
        except ImportError as exc:
            missing.append(f"tflite-runtime ({exc})")
    if not missing:
        raise ModelError(f'runtime "{wanted}": want auto, ai-edge-litert or tflite-runtime')
    raise ModelError(
        f"no TFLite runtime: {'; '.join(missing)}; install one with "
        "`pip install ai-edge-litert`, or `pip install 'lookout-appliance[tflite]'` on Python 3.11"
    )


def open_bundles(state_dir: Path | None) -> BundleStore:
    """Bundles of the box, if a state folder is given, and the embedded ones."""
    from device.bundles.store import FolderStore

    return FolderStore(None if state_dir is None else state_dir / "bundles")


def open_classifier(bundle: Bundle, runtime: Runtime, threads: int) -> Classifier:
    """The bundle's `cpu` variant, ready to run; raises as `load_bundle`."""
    return load_bundle(bundle, runtime, threads)[0]


def load_bundle(bundle: Bundle, runtime: Runtime, threads: int) -> tuple[Classifier, Backend]:
    """The bundle's `cpu` variant, ready to run, and what runs it; the log says so too.

    Raises:
        ModelError: the model does not fit its bundle.
    """
    from device.inference.tflite_classifier import TfliteClassifier

    network = runtime.load(Path(bundle.folder) / bundle.variants["cpu"], threads)
    backend = Backend(
        runtime=runtime.name,
        version=runtime.version,
        accelerator="cpu",
        threads=threads,
        delegated_nodes=network.delegated_nodes,
        nodes=network.nodes,
    )
    log.info(
        "model ready bundle=%s@%s runtime=%s version=%s accelerator=%s threads=%d nodes=%d "
        "delegated_nodes=%d",
        bundle.name,
        bundle.version,
        backend.runtime,
        backend.version,
        backend.accelerator,
        backend.threads,
        backend.nodes,
        backend.delegated_nodes,
    )
    return TfliteClassifier(bundle, network), backend


def list_cameras() -> "Listing":
    """What `lookout camera list` shows."""
    from device.camera.listing import list_cameras as found

    return found()


def open_camera(config: CameraConfig, clock: Clock, model_size: tuple[int, int] | None) -> Camera:
    """model_size: (height, width) of a second stream, where the source makes one free of charge.

    Raises:
        TransientError: the source is not there, or not yet.
    """
    match config.source:
        case "pictures":
            from device.camera.picture_folder import PictureFolder

            return PictureFolder(config, clock)
        case "video":
            from device.camera.video_file import VideoFile

            return VideoFile(config, clock)
        case "rtsp":
            from device.camera.rtsp import RtspCamera

            return RtspCamera(config, clock)
        case "usb":
            try:
                from device.camera.usb_camera import UsbCamera
            except ImportError as exc:
                raise TransientError(
                    f"USB cameras want linuxpy ({exc}); install it: "
                    "`pip install 'lookout-appliance[usb]'`"
                ) from exc

            return UsbCamera(config, clock)
        case "picamera2":
            from device.camera.pi_camera import PiCamera

            return PiCamera(config, clock, model_size)


def open_pins(config: Config, on_press: PressCallback) -> Pins:
    """Outputs at their safe level, buttons listened to.

    Raises:
        TransientError, ConfigError: a pin is taken, or not to be had.
    """
    driver = config.gpio.driver
    if driver == "file" and config.gpio.folder is not None:
        from device.gpio.file_pins import FilePins

        return FilePins(config.outputs, config.buttons, on_press, config.gpio.folder)
    from device.gpio.gpiozero_pins import (
        GpiozeroPins,
        machine_has_pins,
        mock_factory,
        real_factory,
    )

    if driver == "gpiozero" or (driver == "auto" and machine_has_pins()):
        factory = real_factory()
    else:
        factory = mock_factory()
    pins = GpiozeroPins(config.outputs, config.buttons, on_press, factory)
    log.info("pins ready driver=%s", pins.description)
    return pins


def open_outbox(config: Config) -> Outbox:
    """Raises TransientError when the disk refuses."""
    from device.messaging.sqlite_outbox import SqliteOutbox

    return SqliteOutbox(
        config.device.state_dir / "outbox.db",
        config.device.name,
        config.device.registry,
        config.outbox.max_bytes,
    )


def open_spare_outbox(config: Config, previous: PreviousRun | None) -> Outbox:
    """In memory, for a disk that fails; its rows never meet those of the disk."""
    from device.messaging.memory_outbox import MemoryOutbox

    return MemoryOutbox(
        config.device.name,
        config.device.registry,
        SPARE_BYTES,
        previous=previous,
        first_row=SPARE_FIRST_ROW,
    )


def open_uplink(config: Config, clock: Clock, run: RunId) -> Uplink:
    """Connects by itself, turn by turn."""
    from device.messaging.paho_uplink import PahoUplink

    return PahoUplink(config.mqtt, config.topics, run, clock, jitter)


def open_small_file(state_dir: Path, name: str) -> SmallFile:
    """In the state folder; whole or not at all."""
    from device.messaging.small_file import DiskFile

    return DiskFile(state_dir / name)


def certificate_expiry_ns(config: Config) -> int | None:
    """When the box's own certificate ends; None where it has none that can be read."""
    from device.messaging.certificate import read_expiry_ns

    tls = config.mqtt.tls
    return None if tls is None or tls.cert_file is None else read_expiry_ns(tls.cert_file)


def open_album(config: Config, clock: Clock) -> Album:
    """The box's own record; it opens when the disk lets it, now or later."""
    from device.album.late_album import LateAlbum
    from device.album.sqlite_album import SqliteAlbum

    def open_now() -> Album:
        return SqliteAlbum(
            config.device.state_dir / "album",
            config.album.max_bytes,
            config.album.long_side_px,
            config.album.pictures,
            ALBUM_RESERVE_BYTES,
        )

    return LateAlbum(open_now, clock)


def vitals(state_dir: Path) -> Vitals:
    from device.health.vitals import read_vitals

    return read_vitals(state_dir)


def draw_regions(
    image: Image, regions: Sequence[tuple[str, Rectangle, str]], masks: Sequence[Rectangle]
) -> bytes:
    """A JPEG for `lookout snap`."""
    from device.album.pictures import draw_regions as draw

    return draw(image, regions, masks)


def open_control(path: Path, answer: Answer) -> Control:
    """Raises OutputError, ConfigError, TransientError: nobody can listen there."""
    from device.control.server import ControlServer

    return ControlServer(path, answer)


def ask_box(
    path: Path, command: str, arguments: Mapping[str, Any] | None = None, timeout_s: float = 15.0
) -> dict[str, Any]:
    """One question to the running box; raises its errors, NotRunningError when none answers."""
    from device.control.client import ask

    return ask(path, command, dict(arguments or {}), timeout_s)


def stream_box(
    path: Path, command: str, arguments: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Items of an answer that comes bit by bit; raises as `ask_box`."""
    from device.control.client import stream

    return stream(path, command, dict(arguments or {}))
