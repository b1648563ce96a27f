"""picamera2 without a Pi: streams with padded lines, requests that must be released, jobs.

Written from the source of raspberrypi/picamera2 (picamera2.py, request.py, job.py).
"""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.camera.pi_camera import PiLibrary
from device.core.images import Yuv420

STRIDE_STEP = 64
"""Lines of luma lie at multiples of this, so that those of chroma lie at multiples of 32."""


class Range(Enum):
    Full = 0
    Limited = 1


class YcbcrEncoding(Enum):
    Rec601 = 1
    Rec709 = 2


@dataclass(frozen=True, slots=True)
class FakeColorSpace:
    """`libcamera.ColorSpace`; its members are spelled as there."""

    range: Range
    ycbcrEncoding: YcbcrEncoding  # noqa: N815 - libcamera's name


SYCC = FakeColorSpace(Range.Full, YcbcrEncoding.Rec601)
SMPTE170M = FakeColorSpace(Range.Limited, YcbcrEncoding.Rec601)
REC709 = FakeColorSpace(Range.Limited, YcbcrEncoding.Rec709)


@dataclass(frozen=True, slots=True)
class FakeTransform:
    """`libcamera.Transform`."""

    hflip: bool = False
    vflip: bool = False


class FakeRequest:
    """`picamera2.request.CompletedRequest`."""

    def __init__(self, sensor: "FakeSensor", buffers: Mapping[str, NDArray[np.uint8]]) -> None:
        self._sensor = sensor
        self._buffers = buffers
        self._metadata: dict[str, Any] = dict(sensor.metadata)
        self.ref_count = 1

    def make_buffer(self, name: str) -> NDArray[np.uint8]:
        if self.ref_count < 1:
            raise RuntimeError("the request was released")
        if name not in self._buffers:
            raise RuntimeError(f"Stream {name!r} is not defined")
        return self._buffers[name].copy()

    def get_metadata(self) -> dict[str, Any]:
        return dict(self._metadata)

    def release(self) -> None:
        self.ref_count -= 1
        if self.ref_count < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        self._sensor.free_buffers += 1


class FakeJob:
    """`picamera2.job.Job`."""

    def __init__(self) -> None:
        self.future: Future[FakeRequest] = Future()

    def get_result(self, timeout: float | None = None) -> FakeRequest:
        return self.future.result(timeout=timeout)


class FakeSensor:
    """A camera on the ribbon cable, with the picamera2 that drives it.

    `expose` is one frame: it is dropped when all buffers are with the caller, and the last
    one nobody asked for yet is kept, as picamera2 does with `queue=True`.
    """

    def __init__(self, colour_space: FakeColorSpace = REC709, model: str = "imx708") -> None:
        self.colour_space = colour_space
        self.model = model
        self.metadata: dict[str, Any] = {}
        self.format = "YUV420"
        self.is_there = True
        self.is_open = False
        self.is_started = False
        self.free_buffers = 0
        self.requests: list[FakeRequest] = []
        self.asked: dict[str, Any] = {}
        """What `create_video_configuration` was asked for last."""
        self._configuration: dict[str, Any] = {}
        self._kept: FakeRequest | None = None
        self._jobs: list[FakeJob] = []
        self._lock = Lock()
        self.library = PiLibrary(self._open, FakeTransform)

    def expose(
        self, timestamp_ns: int, main: Yuv420, small: Yuv420 | None = None, exposure_us: int = 0
    ) -> None:
        """timestamp_ns: of the boot-time clock. main, small: of the streams' own sizes."""
        with self._lock:
            if not self.is_started or self.free_buffers == 0:
                return
            self.metadata = {"SensorTimestamp": timestamp_ns, "ExposureTime": exposure_us}
            buffers = {"main": self._padded("main", main)}
            if small is not None and self._configuration["lores"] is not None:
                buffers["lores"] = self._padded("lores", small)
            request = FakeRequest(self, buffers)
            self.requests.append(request)
            self.free_buffers -= 1
            if self._jobs:
                self._jobs.pop(0).future.set_result(request)
                return
            if self._kept is not None:
                self._kept.release()
            self._kept = request

    def fail(self) -> None:
        """What waits for a frame gets picamera2's error instead."""
        with self._lock:
            self.is_there = False
            for job in self._jobs:
                job.future.set_exception(RuntimeError("Camera frontend has timed out!"))
            self._jobs.clear()

    # --- picamera2.Picamera2 ---

    def _open(self, camera_num: int = 0) -> "FakeSensor":
        if not self.is_there or camera_num != 0 or self.is_open:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.is_open = True
        return self

    @property
    def camera_properties(self) -> dict[str, Any]:
        return {"Model": self.model, "Rotation": 180}

    def create_video_configuration(
        self,
        main: Mapping[str, Any],
        lores: Mapping[str, Any] | None = None,
        raw: Mapping[str, Any] | None = None,
        **others: Any,  # noqa: ANN401 - as in picamera2
    ) -> dict[str, Any]:
        self.asked = {"main": main, "lores": lores, "raw": raw, **others}
        return {
            **others,
            "main": dict(main),
            "lores": None if lores is None else dict(lores),
            "raw": raw,
            "colour_space": self.colour_space,
        }

    def configure(self, camera_config: dict[str, Any]) -> None:
        if self.is_started:
            raise RuntimeError("Camera must be stopped before configuring")
        streams = [camera_config[name] for name in ("main", "lores") if camera_config[name]]
        for stream in streams:
            width_px, height_px = stream["size"]
            if width_px % 2 or height_px % 2:
                raise RuntimeError("width and height should be even")
            if width_px > streams[0]["size"][0] or height_px > streams[0]["size"][1]:
                raise RuntimeError("lores stream dimensions may not exceed main stream")
            stream["format"] = self.format
            stream["stride"] = -(-width_px // STRIDE_STEP) * STRIDE_STEP
            stream["framesize"] = stream["stride"] * height_px * 3 // 2
        self._configuration = camera_config
        self.free_buffers = camera_config["buffer_count"]

    def camera_configuration(self) -> dict[str, Any]:
        return self._configuration

    def start(self) -> None:
        self.is_started = True

    def capture_request(self, wait: bool | None = None) -> FakeJob:
        if wait is not False:
            raise RuntimeError("this fake only gives jobs; want wait=False")
        with self._lock:
            if not self.is_there:
                raise RuntimeError("Camera frontend has timed out!")
            job = FakeJob()
            if self._kept is not None:
                job.future.set_result(self._kept)
                self._kept = None
            else:
                self._jobs.append(job)
            return job

    def stop(self) -> None:
        with self._lock:
            self.is_started = False
            if self._kept is not None:
                self._kept.release()
                self._kept = None

    def close(self) -> None:
        self.stop()
        self.is_open = False

    def _padded(self, name: str, image: Yuv420) -> NDArray[np.uint8]:
        """The image as the ISP writes it: lines of the stride's length, junk in the padding."""
        stream = self._configuration[name]
        width_px, height_px = stream["size"]
        if image.size != (height_px, width_px):
            raise ValueError(f"stream {name} is {(height_px, width_px)}, got {image.size}")
        parts = []
        for plane, stride in zip(
            (image.y, image.u, image.v),
            (stream["stride"], stream["stride"] // 2, stream["stride"] // 2),
            strict=True,
        ):
            lines = np.full((plane.shape[0], stride), 0xA5, np.uint8)
            lines[:, : plane.shape[1]] = plane
            parts.append(lines.ravel())
        return np.concatenate(parts)
