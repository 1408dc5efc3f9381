"""One picture of the user's own: what its header says, and its pixels. Nothing is converted that the user did not ask
for: Pillow would clip 16 bits at 255, and drop what does not fit, without a word."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from credit.data.own.reading import Reading
from credit.errors import DataError

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "P": 3, "PA": 3}
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # of EXIF: how a camera was held, and by a quarter of a turn
_OF_CAMERAS = ("JPEG", "MPO", "WEBP")  # Pillow turns TIFF itself
_ANIMATED = ("GIF", "PNG", "TIFF", "WEBP")  # of other kinds, further frames are previews
_TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip


class Picture(NamedTuple):
    """size: (height, width) as a camera held it. channels: 1 grey, 3 colour. deep: 16 bits for each pixel."""

    size: tuple[int, int]
    channels: int
    deep: bool


def look(path: Path, reading: Reading) -> Picture:
    """What the header says. Raises DataError for what is no picture, and for one that the reading does not allow."""
    with _opened(path) as image:
        return _described(image, path, reading)


def pixels(path: Path, reading: Reading, expected: tuple[int, int, int], deep: bool) -> np.ndarray:
    """(C, H, W), uint8 or float32 where `deep`. Raises DataError also for another shape than the expected one."""
    with _opened(path) as image:
        picture = _described(image, path, reading)
        try:
            image.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{path}: damaged: {error}") from error
        turn = _TURNS.get(_orientation(image))
        if picture.deep:
            image = Image.fromarray(np.asarray(image).astype(np.float32))
        else:
            image = image.convert("L" if expected[0] == 1 else "RGB")
        image = image.transpose(Image.Transpose[turn]) if turn else image
        if reading.size:
            image = image.resize((reading.size[1], reading.size[0]), Image.Resampling.BILINEAR)
        values = np.asarray(image)
    values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    if values.shape != tuple(expected) or picture.deep != deep:
        raise DataError(f"{path}: {values.shape} {values.dtype}; expected {tuple(expected)} as when it was first read")
    return values


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(io.BytesIO(path.read_bytes()))
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: no image that Pillow knows; move it elsewhere") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _orientation(image: Image.Image) -> int:
    """How a camera was held, 1 for upright; of kinds whose headers say so, as others are decoded for it."""
    return image.getexif().get(_ORIENTATION, 1) if image.format in _OF_CAMERAS and image.mode[0] != "I" else 1


def _described(image: Image.Image, path: Path, reading: Reading) -> Picture:
    deep = image.mode.startswith("I")
    if not deep and image.mode not in _CHANNELS:
        raise DataError(f"{path}: an image of mode {image.mode}; expected grey or RGB, convert it")
    if not deep and any(";16" in str(tile) for tile in image.tile):
        raise DataError(f"{path}: colours of 16 bits, of which Pillow reads 8; convert it to 8 bits a channel")
    if image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{path}: holds {image.n_frames} frames; expected one image a file")
    if image.has_transparency_data and reading.alpha != "drop":
        raise DataError(f"{path}: has an alpha channel (transparency); write alpha: drop to leave it out")
    if deep and reading.scale is None:
        raise DataError(f"{path}: 16 bits a pixel; name the value that is to become 1, such as scale: 65535")
    if not deep and (reading.scale or 0) > 255:
        raise DataError(f"{path}: 8 bits a pixel, where scale = {reading.scale:g}")
    if deep and reading.channels == 3:
        raise DataError(f"{path}: 16 bits a pixel, which is grey; channels = 3 is for images of 8 bits a channel")
    width, height = image.size
    turned = _orientation(image) in _TURNED
    return Picture((width, height) if turned else (height, width), 1 if deep else _CHANNELS[image.mode], deep)
