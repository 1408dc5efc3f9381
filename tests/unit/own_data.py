"""A catalogue with one data set of the user's own, and what is prepared of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from credit.data import catalog
from credit.data.entry import Entry
from credit.data.fetch import fetch
from credit.data.load import Dataset, load
from credit.data.own import survey
from credit.data.prepare import prepare


def declare(folder: Path, **facts: Any) -> Path:
    """A catalogue in `folder`, which declares `mine`."""
    path = folder / "datasets.yaml"
    path.write_text(yaml.safe_dump({"mine": {"source": "user", **facts}}))
    catalog._load.cache_clear()
    catalog.sources.cache_clear()
    survey.surveyed.cache_clear()
    return path


def read(folder: Path, **facts: Any) -> Entry:
    """The entry `mine`, with what is in its files."""
    return catalog.dataset("mine", path=declare(folder, **facts))


def prepared(folder: Path, **facts: Any) -> Dataset:
    """`mine`, recorded, prepared and loaded as the jobs do it."""
    path = declare(folder, **facts)
    entry = catalog.dataset("mine", path=path)
    sources = {part: str(root) for part, root in survey.paths(catalog.load(path)["mine"]).items()}
    spec = json.loads(json.dumps(entry.spec(urls=False)))  # as jobs receive it
    raw, out = folder / "raw" / "mine", folder / "mine.npz"
    manifest = fetch(Entry.from_spec(spec), raw, user_files=json.dumps(sources))
    prepare(Entry.from_spec(spec), raw, manifest, out)
    return load(out)


def picture(path: Path, values: Any, mode: str | None = None, **more: Any) -> Path:
    """Write an image. values: an array (H, W) or (H, W, C), or an image. mode: to which it is converted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = values if isinstance(values, Image.Image) else Image.fromarray(np.asarray(values))
    (image.convert(mode) if mode else image).save(path, **more)
    return path


def flowers(
    root: Path, n: int = 5, size: tuple[int, int] = (3, 4), classes: tuple[str, ...] = ("rose", "lily")
) -> Path:
    """Folders of colour images by class, as PNG."""
    rand = np.random.default_rng(0)
    for name in classes:
        for i in range(n):
            picture(root / name / f"{i}.png", rand.integers(0, 256, (*size, 3), dtype=np.uint8))
    return root
