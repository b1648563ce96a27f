"""Picture files to pixels, as a person sees them: the one door for pictures that somebody put
on the disk."""

import stat
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from device.core.images import Rgb
from device.errors import PictureError

PIXELS_MAX = 100_000_000
"""A hundred megapixels, which a Pi still holds in memory; beyond it is a mistake or an attack."""

KINDS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What is decoded; each further format of Pillow's would be one more door to untrusted bytes."""

SEEN = "want a whole picture: JPEG, PNG, BMP, GIF, WebP, TIFF or PPM"
BACKDROP = (255, 255, 255)
"""Behind what is transparent: as on a page."""


def read_picture(path: Path, fit_px: tuple[int, int] | None = None) -> Rgb:
    """The picture upright (EXIF), its first image if it is animated, on white if transparent.

    fit_px: (height, width) that it is scaled down to fit into, its shape kept; None: as it is.

    Raises:
        PictureError: missing, empty, not a regular file, cut, no picture, or too large.
    """
    try:
        _check_kind(path)
        with warnings.catch_warnings():
            # Pillow only warns of sizes between one and two of its limits, and of odd metadata.
            warnings.simplefilter("ignore")
            with PIL.Image.open(path, formats=KINDS) as picture:
                height_px, width_px = picture.height, picture.width
                if height_px * width_px > PIXELS_MAX:
                    raise PictureError(
                        f"{path}: {width_px}x{height_px} pixels; want at most "
                        f"{PIXELS_MAX // 1_000_000} million: scale it down first"
                    )
                if fit_px is not None:
                    # Lets the JPEG decoder skip detail that is scaled away; twice the size keeps
                    # the antialiasing true.
                    picture.draft("RGB", (2 * max(fit_px), 2 * max(fit_px)))
                picture.load()
                pixels = to_rgb(_upright(picture))
                return Rgb(pixels if fit_px is None else _fitted(pixels, fit_px))
    except PictureError:
        raise
    except FileNotFoundError as exc:
        raise PictureError(f"{path}: no such file; check the spelling and the folder") from exc
    except PIL.UnidentifiedImageError as exc:
        raise PictureError(f"{path}: not a picture that can be read here; {SEEN}") from exc
    except PIL.Image.DecompressionBombError as exc:
        raise PictureError(
            f"{path}: too many pixels; want at most {PIXELS_MAX // 1_000_000} million: "
            "scale it down first"
        ) from exc
    except PermissionError as exc:
        raise PictureError(f"{path}: not allowed to read it; check its permissions") from exc
    except Exception as exc:
        # Pillow's decoders raise anything on broken files: struct.error, ZeroDivisionError, ...
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise PictureError(
            f"{path}: cut or damaged ({reason}); {SEEN}; copy or download it again"
        ) from exc


def _check_kind(path: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(f"{path}: a folder; {SEEN}; name the pictures in it, as {path}/*")
    if not stat.S_ISREG(status.st_mode):  # a named pipe would be waited for, for ever
        raise PictureError(f"{path}: not a regular file; {SEEN}")
    if status.st_size == 0:
        raise PictureError(f"{path}: an empty file; {SEEN}; copy or download it again")


def _fitted(pixels: NDArray[np.uint8], fit_px: tuple[int, int]) -> NDArray[np.uint8]:
    picture = PIL.Image.fromarray(pixels)
    height_px, width_px = fit_px
    picture.thumbnail((width_px, height_px), PIL.Image.Resampling.BILINEAR, reducing_gap=None)
    return np.array(picture, dtype=np.uint8)


def to_rgb(picture: PIL.Image.Image) -> NDArray[np.uint8]:
    """uint8, (height, width, 3), of a loaded picture in any of Pillow's modes."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        # `convert` would clip 16 bits at 255 and leave a white picture.
        return _from_deep_grey(np.asarray(picture))
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info:
        with_alpha = picture.convert("RGBA")
        page = PIL.Image.new("RGB", with_alpha.size, BACKDROP)
        page.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return np.asarray(page)
    return np.asarray(picture.convert("RGB"))


def _from_deep_grey(levels: NDArray[np.generic]) -> NDArray[np.uint8]:
    real = levels.astype(np.float32)
    top = 255.0 if real.max() <= 255.0 else 65535.0
    grey = np.clip(real * (255.0 / top), 0.0, 255.0).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    try:
        return PIL.ImageOps.exif_transpose(picture)
    except Exception:  # noqa: BLE001 - Pillow raises anything on broken EXIF; the pixels are whole
        return picture
