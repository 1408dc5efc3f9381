"""Folders of images of the user's own."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from own_data import flowers, picture, prepared, read
from PIL import Image

from credit.errors import ConfigError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
DEEP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000


def png(depth: int, kind: int, channels: int) -> bytes:
    """A PNG of 4 x 3 pixels of any depth and kind, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress((b"\0" + b"\x12\x34" * 4 * channels) * 3)
    header = struct.pack(">IIBBBBB", 4, 3, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def grey(root: Path, n: int = 2) -> Path:
    for name in "ab":
        for i in range(n):
            picture(root / name / f"{i}.png", GREY + i)
    return root


def refused(tmp_path: Path, message: str, **facts):
    with pytest.raises(ConfigError, match=message) as error:
        read(tmp_path, **{"format": "folder", "path": "images", **facts})
    assert "\n" not in str(error.value)


def test_classes_are_the_folders_in_order_and_the_rest_is_drawn(tmp_path):
    root = flowers(tmp_path / "images", classes=("rose", "lily", "Iris"))
    (root / ".DS_Store").write_text("litter")
    (root / "rose" / "Thumbs.db").write_text("litter")
    data = prepared(tmp_path, format="folder", path="images")
    assert data.names == ("Iris", "lily", "rose") and data.scale == 255
    assert data.train_x.shape == (12, 3, 3, 4) and np.bincount(data.test_y).tolist() == [1, 1, 1]
    known = {np.asarray(Image.open(p)).transpose(2, 0, 1).tobytes(): p.parent.name for p in root.glob("*/*.png")}
    for x, y in [*zip(data.train_x, data.train_y), *zip(data.test_x, data.test_y)]:
        assert known.pop(x.tobytes()) == data.names[y]
    assert not known


@pytest.mark.parametrize("val", [True, False])
def test_folders_train_val_and_test_are_the_parts(tmp_path, val):
    for part, n in (("train", 3), ("test", 1), ("val", 2))[: 3 if val else 2]:
        grey(tmp_path / "images" / part, n)
    data = prepared(tmp_path, format="folder", path="images")
    assert (len(data.train_x), len(data.test_x), data.held_out) == ((10, 2, 4) if val else (6, 2, 0))
    assert data.names == ("a", "b") and data.train_x.shape[1:] == (1, 3, 4)
    refused(tmp_path, "has a test part; test_fraction contradicts it", test_fraction=0.5)


def test_parts_may_be_folders_anywhere_and_classes_may_be_called_train(tmp_path):
    one = grey(tmp_path / "one")
    grey(tmp_path / "other" / "deep", 1)
    data = prepared(tmp_path, format="folder", path={"train": str(one), "test": "other/deep"})
    assert (len(data.train_x), len(data.test_x)) == (4, 2)
    for name in ("train", "test"):
        for i in range(3):
            picture(tmp_path / "images" / name / f"{i}.png", GREY + i)
    assert prepared(tmp_path, format="folder", path="images").names == ("test", "train")


def test_images_in_folders_of_a_class_are_its_own_and_links_are_followed(tmp_path):
    root = grey(tmp_path / "images")
    picture(root / "a" / "more" / "x.png", GREY)
    (root / "c").symlink_to(grey(tmp_path / "elsewhere") / "a", target_is_directory=True)
    entry = read(tmp_path, format="folder", path="images")
    assert (entry.classes, entry.train + entry.test) == (3, 7)
    (root / "a" / "round").symlink_to(root, target_is_directory=True)
    refused(tmp_path, r"a/round/a.*: a link that leads back to|round: a link that leads back")


def test_sizes_differ(tmp_path):
    root = grey(tmp_path / "images")
    picture(root / "b" / "9.png", np.zeros((5, 6), np.uint8))
    refused(tmp_path, r"a/0\.png is 3 x 4, .*b/9\.png is 5 x 6 \(height x width\); write size: \[H, W\]")
    data = prepared(tmp_path, format="folder", path="images", size=[2, 5])
    assert data.train_x.shape[1:] == (1, 2, 5)
    expected = np.asarray(Image.fromarray(GREY).resize((5, 2), Image.Resampling.BILINEAR))
    assert any(np.array_equal(expected, x[0]) for x in [*data.train_x, *data.test_x])


def test_grey_and_colour(tmp_path):
    root = grey(tmp_path / "images")
    picture(root / "b" / "9.png", np.dstack([GREY, GREY, GREY + 10]))
    refused(tmp_path, r"a/0\.png is grey, .*b/9\.png in colour; write channels: 1 or channels: 3")
    assert prepared(tmp_path, format="folder", path="images", channels=1).train_x.shape[1:] == (1, 3, 4)
    colour = prepared(tmp_path, format="folder", path="images", channels=3)
    assert colour.train_x.shape[1:] == (3, 3, 4) and colour.train_x.dtype == np.uint8
    assert any(np.array_equal(x, np.stack([GREY] * 3)) for x in [*colour.train_x, *colour.test_x])


def test_black_and_white_and_palettes_are_grey_and_colour(tmp_path):
    for i in range(2):
        for name in "ab":
            picture(tmp_path / "images" / name / f"{i}.png", GREY, "1")
    data = prepared(tmp_path, format="folder", path="images")
    assert data.train_x.shape[1] == 1 and set(np.unique(data.train_x)) == {0, 255}
    for i in range(2):
        for name in "ab":
            picture(tmp_path / "other" / name / f"{i}.png", np.dstack([GREY] * 3), "P")
    assert read(tmp_path, format="folder", path="other").image == (3, 3, 4)


def test_transparency_is_refused_or_dropped(tmp_path):
    root = tmp_path / "images"
    colours = np.dstack([GREY, GREY + 1, GREY + 2, np.zeros_like(GREY)])
    for i in range(2):
        for name in "ab":
            picture(root / name / f"{i}.png", colours)
    refused(tmp_path, r"a/0\.png: has an alpha channel \(transparency\); write alpha: drop")
    data = prepared(tmp_path, format="folder", path="images", alpha="drop")
    assert np.array_equal(data.train_x[0], colours.transpose(2, 0, 1)[:3])
    for path in root.rglob("*.png"):
        picture(path, GREY, "P", transparency=0)
    refused(tmp_path, "has an alpha channel")


def test_16_bits_are_refused_or_scaled_and_never_clipped(tmp_path):
    root = tmp_path / "images"
    for i in range(2):
        for name in "ab":
            picture(root / name / f"{i}.png", DEEP)
    refused(tmp_path, r"a/0\.png: 16 bits a pixel; name the value that is to become 1, such as scale: 65535")
    data = prepared(tmp_path, format="folder", path="images", scale=65535)
    assert data.train_x.dtype == np.float32 and data.scale == 65535
    assert np.array_equal(data.train_x[0, 0], DEEP)
    assert prepared(tmp_path, format="folder", path="images", scale=65535, size=[2, 2]).train_x.max() > 255
    refused(tmp_path, "16 bits a pixel, which is grey", scale=65535, channels=3)
    picture(root / "b" / "1.png", GREY)
    refused(tmp_path, r"b/1\.png: 8 bits a pixel, where scale = 65535", scale=65535)
    refused(tmp_path, r"a/0\.png has 16 bits a pixel, .*b/1\.png 8", scale=200)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_16_bits_are_refused_as_pillow_drops_half_of_them(tmp_path, kind, channels):
    path = grey(tmp_path / "images") / "a" / "0.png"
    path.write_bytes(png(16, kind, channels))
    assert Image.open(io.BytesIO(path.read_bytes())).mode in ("RGB", "RGBA")
    refused(tmp_path, r"a/0\.png: colours of 16 bits, of which Pillow reads 8", alpha="drop")


@pytest.mark.parametrize(("kind", "more"), [("webp", {"lossless": True}), ("tiff", {})])
def test_a_camera_that_was_held_upright_gives_an_upright_image(tmp_path, kind, more):
    for i in range(2):
        for name in "ab":
            image = Image.fromarray(np.dstack([GREY] * 3))
            exif = image.getexif()
            exif[0x0112] = 6
            picture(tmp_path / "images" / name / f"{i}.{kind}", image, exif=exif, **more)
    assert read(tmp_path, format="folder", path="images").image == (3, 4, 3)
    data = prepared(tmp_path, format="folder", path="images")
    assert np.array_equal(data.train_x[0, 0], np.rot90(GREY, -1))


def test_what_is_no_image_is_named(tmp_path):
    root = grey(tmp_path / "images")
    (root / "a" / "notes.txt").write_text("hello")
    refused(tmp_path, r"a/notes\.txt: no image that Pillow knows; move it elsewhere")
    (root / "a" / "notes.txt").unlink()
    (root / "labels.csv").write_text("hello")
    refused(tmp_path, r"images/labels\.csv: lies beside the folders of the classes")
    (root / "labels.csv").unlink()
    (root / "empty").mkdir()
    refused(tmp_path, r"images/empty: a class without images")
    (root / "empty").rmdir()
    picture(root / "a" / "2.jpg", np.dstack([GREY] * 3), "CMYK")
    refused(tmp_path, r"a/2\.jpg: an image of mode CMYK")
    (root / "a" / "2.jpg").unlink()
    Image.fromarray(GREY).save(root / "a" / "2.gif", save_all=True, append_images=[Image.fromarray(GREY + 9)])
    refused(tmp_path, r"a/2\.gif: holds 2 frames", channels=1)


def test_an_image_that_is_cut_off_is_named_when_it_is_prepared(tmp_path):
    root = flowers(tmp_path / "images", size=(40, 40))
    path = root / "rose" / "3.png"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"rose/3\.png: damaged: image file is truncated"):
        prepared(tmp_path, format="folder", path="images")


def test_folders_that_hold_no_classes_are_named(tmp_path):
    picture(tmp_path / "images" / "0.png", GREY)
    refused(tmp_path, r"images: expected a folder for each class")
    refused(tmp_path, r"images/0\.png: is a file; the format folder needs a folder", path="images/0.png")
    refused(tmp_path, r"images: is a folder; the format csv needs a file", format="csv", label="x")
    refused(tmp_path, r"datasets\.yaml, line 1: mine: .*nothing: no such file or folder", path="nothing")


def test_a_part_with_a_class_of_its_own_is_refused(tmp_path):
    grey(tmp_path / "images" / "train")
    picture(grey(tmp_path / "images" / "test") / "c" / "0.png", GREY)
    refused(tmp_path, r"images/test: class 'c' has no sample in the training part, .*images/train")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path):
    path = grey(tmp_path / "images") / "a" / "0.png"
    path.chmod(0)
    refused(tmp_path, r"a/0\.png: Permission denied")
