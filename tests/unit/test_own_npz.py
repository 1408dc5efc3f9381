"""Arrays of the user's own."""

from __future__ import annotations

import numpy as np
import pytest
from own_data import prepared, read

from credit.errors import ConfigError

X = np.random.default_rng(0).integers(0, 256, (20, 3, 4), dtype=np.uint8)
Y = np.arange(20) % 2


def save(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return {"format": "npz", "path": "a.npz"}


def whole(data):
    return np.concatenate([data.train_x, data.test_x])


def test_images_of_bytes_are_divided_by_255_later_and_kept_as_they_are(tmp_path):
    data = prepared(tmp_path, **save(tmp_path, x=X, y=Y))
    assert data.train_x.shape == (16, 1, 3, 4) and data.train_x.dtype == np.uint8 and data.scale == 255
    assert data.names == ("0", "1") and np.array_equal(np.sort(whole(data).ravel()), np.sort(X.ravel()))
    assert prepared(tmp_path, **save(tmp_path, x=X, y=Y), scale=16).scale == 16


@pytest.mark.parametrize("names", ["{part}_x {part}_y", "x_{part} y_{part}"])
def test_parts_are_named_in_either_order(tmp_path, names):
    arrays = {}
    for part, cut in (("train", slice(0, 12)), ("val", slice(12, 16)), ("test", slice(16, 20))):
        arrays |= dict(zip(names.format(part=part).split(), (X[cut], Y[cut]), strict=True))
    data = prepared(tmp_path, **save(tmp_path, **arrays, other=np.zeros(3)))
    assert np.array_equal(data.train_x[:, 0], X[:16]) and np.array_equal(data.test_x[:, 0], X[16:])
    assert np.array_equal(data.train_y, Y[:16]) and data.held_out == 4


def test_vectors_are_features_and_the_axes_of_images_may_be_named(tmp_path):
    data = prepared(tmp_path, **save(tmp_path, x=X.reshape(20, 12).astype(float) / 7, y=Y))
    assert data.train_x.shape == (16, 12, 1, 1) and data.train_x.dtype == np.float32 and data.scale == 1
    colours = np.random.default_rng(1).random((20, 5, 6, 3))
    facts = save(tmp_path, train_x=colours, train_y=Y, test_x=colours[:2], test_y=Y[:2])
    with pytest.raises(ConfigError, match=r"train is \(20, 5, 6, 3\), which looks like .*layout: channels_last"):
        read(tmp_path, **facts)
    data = prepared(tmp_path, **facts, layout="channels_last")
    assert np.array_equal(data.train_x, colours.transpose(0, 3, 1, 2).astype(np.float32))


def test_arrays_in_any_order_of_memory_are_the_same_samples(tmp_path):
    x = np.asfortranarray(X.reshape(20, 12).astype(">f8"))
    data = prepared(tmp_path, **save(tmp_path, train_x=x, train_y=Y, test_x=x[::-2], test_y=Y[::-2]))
    assert np.array_equal(data.train_x[:, :, 0, 0], X.reshape(20, 12))
    assert np.array_equal(data.test_x[:, :, 0, 0], X.reshape(20, 12)[::-2])


def test_vectors_can_be_standardised_and_labels_be_text(tmp_path):
    y = np.array(["yes", "no"] * 10)
    data = prepared(tmp_path, **save(tmp_path, x=X.reshape(20, 12), y=y), standardise=True)
    assert np.allclose(data.train_x.mean(0), 0, atol=1e-6) and data.names == ("no", "yes") and data.scale == 1
    with pytest.raises(ConfigError, match="standardise is for"):
        read(tmp_path, **save(tmp_path, x=X, y=y), standardise=True)


def test_two_files_may_be_the_parts(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    np.savez(tmp_path / "b.npz", x=X[:4], y=Y[:4])
    data = prepared(tmp_path, format="npz", path={"train": "a.npz", "test": "b.npz"})
    assert np.array_equal(data.test_x[:, 0], X[:4]) and len(data.train_x) == 20


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"a\.npz: holds the arrays x; expected x and y, or train_x"),
        ({"train_x": X, "train_y": Y, "test_x": X}, "holds test_x without the array of the same part"),
        ({"x": X, "y": Y[:19]}, "x holds 20 samples, y 19 labels"),
        ({"x": X.ravel(), "y": Y}, r"x is \(240,\); expected \(N, n\), \(N, H, W\) or \(N, C, H, W\)"),
        ({"x": X[:, None, None], "y": Y}, r"x is \(20, 1, 1, 3, 4\)"),
        ({"x": X[:, :0], "y": Y}, r"x is \(20, 0, 4\)"),
        ({"x": X[:0], "y": Y[:0]}, "holds no samples"),
        ({"x": X * 1j, "y": Y}, "x is complex128; expected integers or real numbers"),
        ({"x": np.array([[{}]] * 20), "y": Y}, r"x holds Python objects \(dtype object\), which are not loaded"),
        ({"x": X, "y": np.array([None] * 20)}, r"y holds Python objects"),
        ({"x": X, "y": Y / 2}, "y is float64; labels are integers or text, targets of a regression are not supported"),
        ({"x": X, "y": np.eye(2)[Y]}, r"y is \(20, 2\); expected \(N,\), .*y.argmax\(1\)"),
        ({"x": X, "y": Y - 1}, "labels -1 to 0; expected 0 and so on"),
        ({"x": X, "y": Y * 2}, "labels up to 2, but no training sample of class 1"),
        ({"x": X, "y": Y + 1}, "labels up to 2, but no training sample of class 0"),
        ({"x": X.astype(np.uint16), "y": Y}, "images of uint16; name the value that is to become 1, .* scale: 65535"),
        ({"x": np.where(X[3, 0, 0] == X, np.nan, X), "y": Y}, r"train, sample \d+: nan is no finite number"),
        ({"train_x": X, "train_y": Y, "test_x": X[:, 1:], "test_y": Y}, r"samples of test are uint8 \(1, 2, 4\)"),
        ({"train_x": X, "train_y": Y, "test_x": X, "test_y": Y * 2}, "class '2' has no sample in the training part"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, arrays, message):
    with pytest.raises(ConfigError, match=message) as error:
        read(tmp_path, **save(tmp_path, **arrays))
    assert "\n" not in str(error.value) and "a.npz" in str(error.value)


def test_labels_are_held_against_the_number_of_classes(tmp_path):
    facts = save(tmp_path, x=X, y=Y)
    with pytest.raises(ConfigError, match="labels up to 2, but no training sample of class 2"):
        read(tmp_path, **facts, classes=3)
    facts = save(tmp_path, x=X, y=Y * 5)
    with pytest.raises(ConfigError, match="labels 0 to 5; expected 0 to 2, by classes = 3"):
        read(tmp_path, **facts, classes=3)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.npz: no \.npz archive of numpy"):
        read(tmp_path, format="npz", path="a.npz")


def test_a_damaged_archive_is_named(tmp_path):
    save(tmp_path, x=X, y=Y)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[300] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a\.npz: x cannot be read: Bad CRC-32"):
        read(tmp_path, format="npz", path="a.npz")
