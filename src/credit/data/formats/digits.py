"""scikit-learn's digits, which come with the package."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from credit.data.entry import Entry
from credit.data.formats._reading import Batches
from credit.errors import DataError

SCALE = 16  # largest grey level, where it is not 255
_HELD_OUT = 36  # test images of each class


def read(entry: Entry, raw: Path, scratch: Path, verified: bool) -> dict[str, Batches]:
    """{"train": batches, "test": batches}. Test set: 36 images of each class, drawn once."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8)[:, None], digits.target.astype(np.uint8)
    found, expected = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(), entry.files[0].sha256
    if found != expected:
        raise DataError(
            f"{entry.files[0].name}: expected sha256 {expected}, found {found}; "
            "install the locked version of scikit-learn"
        )
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(labels))
    held_out = np.concatenate([order[labels[order] == c][-_HELD_OUT:] for c in range(entry.classes)])
    test = np.isin(np.arange(len(labels)), held_out)
    return {"train": iter([(images[~test], labels[~test])]), "test": iter([(images[test], labels[test])])}
