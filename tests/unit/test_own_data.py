"""Data sets of the user's own in the catalogue and in the workflow: what is declared, recorded, noticed."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import time

import jsonschema
import numpy as np
import pytest
import torch
import yaml
from own_data import declare, flowers, prepared, read
from small_checkout import Checkout

import credit
from credit.config.files import read_yaml
from credit.config.schema import compiled
from credit.dag import audit, citations, cost, own
from credit.data import catalog
from credit.data.entry import Entry
from credit.data.fetch import fetch
from credit.data.load import load, split
from credit.data.own import survey
from credit.data.prepare import prepare
from credit.errors import ConfigError, DataError
from credit.tasks.base import Context
from credit.tasks.classes import Classes
from credit.tasks.drift import Drift
from credit.tasks.images import Images
from credit.tasks.two_tasks import TwoTasks
from credit.training.loop import Training

TABLE = "width,kind,height\n" + "".join(f"{i},{'ab'[i % 2]},{10 * i + 0.5}\n" for i in range(40))
CSV = {"source": "user", "format": "csv", "path": "../mine.csv", "label": "kind"}
EXPERIMENT = {
    "title": "Mine", "net": {"kind": "dense", "hidden_sizes": [4]}, "seeds": 1,
    "task": {"name": "images", "validation": 8, "batch_size": 4}, "train": {"epochs": 2, "optimizer": {"lr": 0.1}},
    "datasets": {"table": {"data": "mine"}}, "methods": {"bp": {}}, "tables": {"errors": {}},
}  # fmt: skip
TABLE_PATH = "results/tables/toy/errors.csv"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Checkout(tmp_path, {"toy/mine": EXPERIMENT})
    shutil.copy(catalog.CATALOG, tmp_path / "config" / "datasets.yaml")
    declared(project)
    (tmp_path / "mine.csv").write_text(TABLE)
    yield project
    catalog.use(catalog.CATALOG)


def declared(checkout, **changes):
    """Write the user's catalogue anew."""
    facts = {key: value for key, value in (CSV | changes).items() if value is not ...}
    (checkout.root / "config" / catalog.BESIDE).write_text(yaml.safe_dump({"mine": facts}))
    catalog._load.cache_clear()
    catalog.sources.cache_clear()


def record(checkout):
    """What the job that records the files does."""
    entry = Entry.from_spec(checkout.workflow().fetch_spec("mine")["dataset"])
    raw = checkout.root / "results" / "data" / "raw"
    manifest = fetch(entry, raw / "mine", user_files=own.paths("mine"))
    (raw / "mine.json").write_text(json.dumps(manifest))
    return entry, raw / "mine", manifest


def spec(checkout):
    return checkout.workflow().train_spec("toy/mine", "table", "bp", "0")


# ---- what is declared


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"delimter": ";"}, r"line 1: mine: unknown key 'delimter' \(did you mean 'delimiter'"),
        ({"size": [2, 2]}, r"mine\.size: no key of the format csv; allowed: cite, delimiter"),
        ({"files": [{"name": "a"}]}, r"mine\.files: no key of the format csv"),
        ({"source": "embedded"}, "source = embedded; the format csv is read where it is user"),
        ({"path": None}, r"mine\.path"),
        ({"path": {"test": "b.csv"}}, r"mine\.path"),
        ({"path": "${NOWHERE_AT_ALL}/a.csv"}, r"mine\.path = .*the variable NOWHERE_AT_ALL is not set"),
        ({"label": ...}, r"label is missing; it names the column"),
        ({"path": ...}, r"path is missing; it names the file"),
        ({"test_fraction": 1}, r"test_fraction = 1\.0; must be above 0 and below 1"),
        ({"test_fraction": 0.1, "path": {"train": "a", "test": "b"}}, "test_fraction: contradicts path.test"),
        ({"delimiter": "::"}, "delimiter = '::'; must be one character"),
        ({"sha256": "12"}, r"mine\.sha256"),
        ({"sha256": {"train": "ab" * 32}}, "sha256: must be one checksum for one path"),
        ({"sha256": {"tset": "ab" * 32}, "path": {"train": "a"}}, "sha256.tset: path names no such part, only train"),
        ({"format": "npz", "label": ..., "scale": 0}, r"scale = 0\.0; must be above 0"),
        ({"format": "npz", "label": ..., "standardise": True, "scale": 2}, "scale: has no effect beside standardise"),
        ({"format": "folder", "label": ..., "channels": 4}, r"channels = 4; must be 1 \(grey\) or 3"),
    ],
)
def test_a_wrong_entry_names_the_file_and_the_key(tmp_path, changes, message):
    facts = {key: value for key, value in (CSV | changes).items() if value is not ...}
    with pytest.raises(ConfigError, match=message) as error:
        catalog.load(declare(tmp_path, **facts))
    assert str(error.value).startswith(f"{tmp_path}/datasets.yaml, line 1: mine")


def test_the_quick_check_of_the_schema_agrees_with_the_validator_on_own_data():
    schema = read_yaml(catalog.SCHEMA)
    quick, slow = compiled(schema), jsonschema.Draft202012Validator(schema)
    rand, verdicts = random.Random(0), []
    parts = {"train": "a", "val": "b", "test": "c"}
    whole = CSV | {
        "sha256": {"all": "ab" * 32}, "path": parts, "test_fraction": 0.5, "test_seed": 1, "ignore": ["a", 1],
        "size": [2, 2], "channels": 1, "scale": 2.5, "alpha": "drop", "layout": "channels_last", "header": False,
        "standardise": True, "cite": ["a"], "classes": 3,
    }  # fmt: skip
    for _ in range(300):
        facts = {key: value for key, value in whole.items() if rand.random() < 0.9}
        if rand.random() < 0.7:
            facts[rand.choice(list(whole))] = rand.choice(
                [None, "x", 0, 1, -1, 1.5, True, [], ["a"], [1, 2], {}, parts]
            )
        verdicts.append(quick({"mine": facts}))
        assert verdicts[-1] == slow.is_valid({"mine": facts}), facts
    assert quick({"mine": whole}) and 30 < sum(verdicts) < 270


def test_keys_of_own_data_are_none_of_the_others(tmp_path):
    text = catalog.CATALOG.read_text().replace("  classes: 10\n", "  classes: 10\n  delimiter: ','\n", 1)
    (tmp_path / "datasets.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"line 12: mnist\.delimiter: no key of the format idx"):
        catalog.load(tmp_path / "datasets.yaml")


def test_the_users_file_lies_beside_the_catalogue_and_takes_no_name_of_it(checkout):
    assert {"mine", "mnist"} <= catalog.load(checkout.root / "config" / "datasets.yaml").keys()
    path = checkout.root / "config" / catalog.BESIDE
    path.write_text(yaml.safe_dump({"mnist": CSV}))
    catalog._load.cache_clear()
    catalog.sources.cache_clear()
    with pytest.raises(
        ConfigError, match=rf"^{path}, line 1: mnist: .*datasets\.yaml declares a data set of this name"
    ):
        catalog.load(checkout.root / "config" / "datasets.yaml")


def test_paths_are_expanded_and_count_from_the_folder_of_the_configuration(checkout, monkeypatch):
    monkeypatch.setenv("MY_DATA", str(checkout.root))
    before = spec(checkout)["data"]
    for path in ("$MY_DATA/mine.csv", str(checkout.root / "mine.csv"), "../config/../mine.csv"):
        declared(checkout, path=path)
        assert spec(checkout)["data"] == before
    monkeypatch.setenv("HOME", str(checkout.root))
    declared(checkout, path="~/mine.csv")
    assert spec(checkout)["data"] == before


def test_an_entry_goes_to_jobs_and_comes_back(tmp_path):
    entry = read(tmp_path, format="folder", path=str(flowers(tmp_path / "images")), size=[2, 2])
    again = Entry.from_spec(json.loads(json.dumps(entry.spec(urls=True))))
    assert (again.spec(urls=True), again.raw_hash()) == (entry.spec(urls=True), entry.raw_hash())
    assert "url" not in json.dumps(entry.spec(urls=False)) and str(tmp_path) not in json.dumps(entry.spec(urls=False))


# ---- what the workflow makes of it


def test_everything_that_asks_knows_sizes_before_any_job(checkout):
    workflow = checkout.workflow()
    found = cost.plan(workflow, TABLE_PATH)
    assert found.whole.jobs == 1 and found.data[0].name == "mine" and not found.data[0].present
    assert cost.samples(spec(checkout)) == (24, 16, (2, 1, 1), 2)
    assert spec(checkout)["data"]["verified"] is True
    assert checkout.workflow(scale="quick").train_spec("toy/mine", "table", "bp", "0")["data"] == spec(checkout)["data"]


def test_what_does_not_fit_the_data_is_refused_before_any_job(checkout):
    checkout.write("toy/mine", EXPERIMENT | {"task": {"name": "images", "validation": 32}})
    with pytest.raises(ConfigError, match=r"task\.validation = 32; the data set has 32 training samples"):
        checkout.workflow()
    checkout.write("toy/mine", EXPERIMENT | {"net": {"kind": "conv", "channels": [2]}})
    with pytest.raises(ConfigError, match="does not fit images of 1 x 1 pixels"):
        checkout.workflow()


def test_nothing_to_cite_is_said(checkout):
    text = citations.bibliography(checkout.workflow(), "toy/mine")
    assert "% nothing to cite is declared for the data set mine" in text
    declared(checkout, cite=["lecun1998"])
    citations._declared.cache_clear()
    text = citations.bibliography(checkout.workflow(), "toy/mine")
    assert "data set: mine" in text and "nothing to cite is declared" not in text


def test_the_spec_holds_what_decides_and_nothing_else(checkout):
    before = spec(checkout)["data"]
    declared(checkout, test_fraction=0.2, header=True, title="A title")  # the defaults, and what is for people
    assert spec(checkout)["data"] != before  # 0.2 is said now, and a test part would contradict it
    declared(checkout, header=True, delimiter=",", title="A title", licence="mine")
    assert spec(checkout)["data"] == before
    os.utime(checkout.root / "mine.csv")
    assert spec(checkout)["data"] == before
    (checkout.root / "mine.csv").rename(checkout.root / "other.csv")
    declared(checkout, path="../other.csv")
    assert spec(checkout)["data"] == before
    declared(checkout, path="../other.csv", ignore=["width"])
    assert spec(checkout)["data"]["declared"] != before["declared"]
    assert spec(checkout)["data"]["sha256"] == before["sha256"]


# ---- changes


def test_a_change_makes_other_specs_and_is_named(checkout):
    before = checkout.workflow()
    assert own.notices(before) == []
    record(checkout)
    assert own.notices(checkout.workflow()) == []
    old, fetched = spec(checkout), checkout.workflow().fetch_spec("mine")
    path = checkout.root / "mine.csv"
    path.write_text(TABLE.replace("7,b", "8,b", 1))
    now = checkout.workflow()
    (notice,) = own.notices(now)
    assert notice.startswith(f"mine: {path} has changed since it was read: ") and "\n" not in notice
    assert "made again" in notice and "put the old content back" in notice and "sha256" in notice
    assert spec(checkout)["data"]["sha256"] != old["data"]["sha256"]
    assert now.fetch_spec("mine") != fetched
    lines = audit._changed_data(now, spec(checkout), ['data.sha256: "a" -> "b"'])
    assert lines == f"data: {path} has changed since it was read"
    path.write_text(TABLE)
    assert own.notices(checkout.workflow()) == [] and spec(checkout) == old


def test_files_of_a_folder_that_come_go_and_change_are_named(checkout):
    root = flowers(checkout.root / "images")
    declared(checkout, format="folder", path="../images", label=...)
    checkout.write("toy/mine", EXPERIMENT | {"task": {"name": "images", "validation": 2}})
    record(checkout)
    shutil.copy(root / "rose" / "0.png", root / "rose" / "9.png")
    assert f"{root}/rose/9.png is new since" in own.notices(checkout.workflow())[0]
    (root / "lily" / "2.png").unlink()
    assert f"{root}/lily/2.png is gone, and 1 more, since" in own.notices(checkout.workflow())[0]
    (root / "lily" / "2.png").symlink_to(root / "nowhere")  # the record is for folders that are gone as a whole
    assert "lily/2.png: no such file or folder" in own.problems(checkout.workflow())[0]


def test_a_checksum_that_is_given_is_held(checkout):
    good = survey.combined(survey.checksums(checkout.root / "mine.csv"))
    declared(checkout, sha256=good)
    assert own.problems(checkout.workflow()) == []
    (checkout.root / "mine.csv").write_text(TABLE + "1,a,2\n")
    (problem,) = own.problems(checkout.workflow())
    assert f"{checkout.root}/mine.csv: its sha256 is " in problem and f"{good} is declared" in problem
    assert problem.startswith(str(checkout.root / "config" / catalog.BESIDE)) and "\n" not in problem


def test_the_checksum_of_a_folder_is_that_of_the_list_that_sha256sum_prints(tmp_path):
    root = flowers(tmp_path / "images", classes=("a b", "c", "é"))
    command = r"find * -type f | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum"
    assert command in (catalog.ROOT / "docs" / "own-data.md").read_text()
    printed = subprocess.run(command, shell=True, cwd=root, capture_output=True, text=True, check=True).stdout
    facts = {"format": "folder", "path": str(root)}
    assert read(tmp_path, **facts, sha256=printed.split()[0]).classes == 3
    with pytest.raises(ConfigError, match="its sha256 is"):
        read(tmp_path, **facts, sha256="ab" * 32)


def test_files_that_are_gone_stop_nothing_that_was_recorded(checkout):
    old = spec(checkout)
    record(checkout)
    (checkout.root / "mine.csv").unlink()
    assert spec(checkout) == old and own.problems(checkout.workflow()) == []
    declared(checkout, ignore=["width"])  # now they would have to be read
    assert "mine.csv: no such file or folder" in own.problems(checkout.workflow())[0]


def test_without_files_and_record_results_can_still_be_asked_about(checkout):
    (checkout.root / "mine.csv").unlink()
    workflow = checkout.workflow()
    (problem,) = own.problems(workflow)
    assert problem.endswith(f"mine: {checkout.root}/mine.csv: no such file or folder") and "\n" not in problem
    assert spec(checkout)["data"]["sha256"] == "unread"
    with pytest.raises(ConfigError, match="no such file or folder"):
        cost.plan(workflow, TABLE_PATH)
    assert citations.bibliography(workflow, "toy/mine")


def test_jobs_refuse_files_that_are_not_what_was_read(checkout):
    entry, raw, manifest = record(checkout)
    prepare(entry, raw, manifest, checkout.root / "mine.npz")
    path = checkout.root / "mine.csv"
    path.write_text(TABLE.replace("7,b", "8,b", 1))
    with pytest.raises(DataError, match=rf"^{path}: changed since the workflow was read"):
        fetch(entry, raw, user_files=own.paths("mine"))
    with pytest.raises(DataError, match=rf"^{path}: changed since it was recorded"):
        prepare(entry, raw, manifest, checkout.root / "mine.npz")
    path.unlink()
    with pytest.raises(DataError, match=rf"^{path}: no such file"):
        prepare(entry, raw, manifest, checkout.root / "mine.npz")
    assert load(checkout.root / "mine.npz").name == "mine"


def test_files_are_read_once_until_they_change(checkout, monkeypatch):
    path = checkout.root / "mine.csv"
    monkeypatch.setattr("credit.data.own.trees._RECENT_NS", 0)
    old, real, reads = spec(checkout), survey.checksums, []
    monkeypatch.setattr(survey, "checksums", lambda root: reads.append(root) or real(root))
    assert spec(checkout) == old and reads == []
    (checkout.root / survey.MEMORY).write_text("damaged")
    assert spec(checkout) == old and len(reads) == 1
    state = path.stat()
    path.write_text(TABLE.replace("7,b", "8,b", 1))  # as long, and dated back
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert spec(checkout)["data"]["sha256"] != old["data"]["sha256"]


def test_what_was_just_written_is_not_remembered(checkout, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: (checkout.root / "mine.csv").stat().st_ctime_ns + 10)
    spec(checkout)
    assert not (checkout.root / survey.MEMORY).exists()


# ---- training


def test_samples_that_are_meant_for_validation_are_held_out_first(tmp_path):
    arrays = {f"{part}_x": np.full((n, 2), i, float) for i, (part, n) in enumerate({"train": 6, "val": 4}.items())}
    arrays |= {f"{part}_y": np.arange(n) % 2 for part, n in {"train": 6, "val": 4}.items()}
    np.savez(tmp_path / "a.npz", **arrays, test_x=np.ones((2, 2)), test_y=np.arange(2))
    data = prepared(tmp_path, format="npz", path="a.npz")
    for validation, (trained, held_out) in {
        4: ({0}, {1}),
        2: ({0, 1}, {1}),
        6: ({0}, {0, 1}),
        0: ({0, 1}, set()),
    }.items():
        train, val = split(data, validation)
        assert len(val) == validation and sorted([*train, *val]) == list(range(10))
        assert ({*data.train_x[train].ravel()}, {*data.train_x[val].ravel()}) == (trained, held_out)


@pytest.mark.parametrize(
    "part",
    [
        Images(validation=4, batch_size=4), Images(validation=4, batch_size=4, target="input"), Classes(batch_size=4),
        TwoTasks(per_class=2, batch_size=2, masked=0), Drift(per_class=2, test_per_class=1, batch_size=2, moved=2),
    ],
)  # fmt: skip
def test_every_task_that_takes_a_data_set_takes_it(tmp_path, part):
    text = "x,y,kind\n" + "".join(f"{i},{-i},{'abcd'[i % 4]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(text)
    data = prepared(tmp_path, format="csv", path="t.csv", label="kind", standardise=True)
    seeds = [0, 1]
    context = Context(credit.Rand(seeds), 2, torch.device("cpu"), torch.float32, tmp_path / "mine.npz")
    task, again = part.build(context), load(tmp_path / "mine.npz")
    assert task.shape_in == (2, 1, 1) and task.prepared == data.state
    assert np.array_equal(again.train_x, data.train_x)
    if isinstance(part, Images):
        assert torch.equal(task.splits["test"].x, torch.from_numpy(data.test_x))


def test_a_convolutional_net_takes_its_sizes_from_a_folder_of_images(checkout):
    flowers(checkout.root / "images", n=6, size=(9, 7), classes=("a", "b", "c"))
    declared(checkout, format="folder", path="../images", label=..., test_fraction=0.5)
    net = {"kind": "conv", "channels": [2], "kernel": 3, "hidden_sizes": [4], "loss": "softmax_cross_entropy"}
    checkout.write("toy/mine", EXPERIMENT | {"net": net, "task": {"name": "images", "validation": 3, "batch_size": 3}})
    entry, raw, manifest = record(checkout)
    prepare(entry, raw, manifest, checkout.root / "mine.npz")
    records = Training(spec(checkout), checkout.root / "mine.npz", log=io.StringIO()).run()
    last = {r["metric"]: r["value"] for r in records if r["epoch"] == 2}
    assert {"test_error", "validation_error", "test_loss"} <= last.keys()
    assert all(np.isfinite(value) for value in last.values()) and 9 * last["test_error"] == pytest.approx(
        round(9 * last["test_error"])
    )


def test_values_are_scaled_and_normalised_as_those_of_other_data_sets(tmp_path):
    x = np.arange(40, dtype=np.uint8).reshape(20, 2)
    np.savez(tmp_path / "a.npz", train_x=x, train_y=np.arange(20) % 2, test_x=x, test_y=np.arange(20) % 2)
    prepared(tmp_path, format="npz", path="a.npz")
    context = Context(credit.Rand([0]), 1, torch.device("cpu"), torch.float64, tmp_path / "mine.npz")
    task = Images(validation=0, mean=(0.5, 0.0), std=(0.5, 2.0)).build(context)
    expected = (x / 255 - [0.5, 0.0]) / [0.5, 2.0]
    assert np.allclose(task.splits["test"].x[:, :, 0, 0], expected)
