"""`credit diff`: what differs between two results, and that nothing else is said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from small_checkout import Checkout, put, put_all, put_choice, result, searching

from credit.__main__ import main
from credit.dag.measured import differences
from credit.dag.transport import export
from credit.provenance.files import checksum, write_json
from credit.provenance.made import record_path, split
from credit.provenance.records import write_result
from tests.conftest import prepared

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
OTHER = "other/runs/toy/fit/near/fa/shard0.jsonl"
FIGURE, TABLE = "figures/toy/curves.pdf", "tables/toy/table1.csv"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


@pytest.fixture
def diff(checkout, capsys):
    """Runs the command; returns (exit code, {section: its lines}, what is said on stderr)."""

    def run(*paths: str | Path):
        code = main(["diff", *map(str, paths)], checkout.root)
        out, err = capsys.readouterr()
        sections: dict[str, list[str]] = {}
        for line in out.splitlines():
            if line.startswith("  "):
                sections[list(sections)[-1]].append(line[2:])
            else:
                sections[line] = []
        return code, sections, err

    return run


NOTHING = (0, {"no difference": []}, "")


def two(checkout, change) -> None:
    """A run, and the same with its header and records changed: `change(header, records)`."""
    header, records = result(checkout.workflow(), RUN)
    write_result(RUN, header, records)
    header, records = result(checkout.workflow(), RUN)
    change(header, records)
    write_result(OTHER, header, records)


def test_a_run_and_its_copy_do_not_differ(diff, checkout):
    two(checkout, lambda header, records: None)
    assert diff(RUN, OTHER) == NOTHING


def test_time_call_and_commit_are_no_difference(diff, checkout):
    made = {"seconds": 3.5, "call": "a", "git": {"commit": "0" * 40, "dirty": True}}
    two(checkout, lambda header, records: header["provenance"].update(made))
    assert diff(RUN, OTHER) == NOTHING


def test_settings_are_named_one_by_one_with_both_values(diff, checkout):
    put(checkout.workflow(), RUN)
    checkout.change(train={"epochs": 7, "optimizer": {"lr": 0.5}}, net={"hidden_sizes": [6, 6]})
    put(checkout.workflow(), OTHER)
    code, found, _ = diff(RUN, OTHER)
    assert (code, list(found)) == (1, ["settings"])
    assert found["settings"] == [
        "net.hidden_sizes: [4] -> [6, 6]", "train.epochs: 4 -> 7", "train.optimizer.lr: 0.2 -> 0.5",
    ]  # fmt: skip


def test_modules_data_and_environment_stand_apart(diff, checkout):
    def change(header, records):
        header["provenance"]["modules"]["credit.methods.fa"] = "0" * 16
        header["spec"] |= {"code": "0" * 16, "env": "1" * 16, "data": {"name": "mnist", "verified": True}}
        header["provenance"] |= {"cpu": "another", "packages": {"torch": "2.12.0"}, "data": "ab"}

    two(checkout, change)
    env = result(checkout.workflow(), RUN)[0]["spec"]["env"]
    assert diff(RUN, OTHER)[:2] == (1, {
        "code": ["module credit.methods.fa: changed"],
        "data": ["arrays: (absent) -> ab", "name: (absent) -> mnist", "verified: (absent) -> true"],
        "environment": [
            "cpu: (absent) -> another", f"env: {env} -> {'1' * 16}", "packages.torch: (absent) -> 2.12.0",
        ],
    })  # fmt: skip


def test_the_largest_difference_of_each_metric_is_named_with_its_place(diff, checkout):
    def change(header, records):
        last = [r for r in records if r["epoch"] == 2]
        last[0]["value"] += 0.01
        last[1]["value"] -= 0.25
        records += [{**records[0], "metric": "angle", "value": 1.0}]

    two(checkout, change)
    code, found, _ = diff(RUN, OTHER)
    assert (code, list(found)) == (1, ["values"])
    assert found["values"] == [
        "test_loss: 2 of 6 differ, at most by 0.25 (0.333333 -> 0.0833333 at seed 1, epoch 2, step 4)",
        "only in the second: angle",
    ]


def at(seed: int) -> tuple:
    return (("seed", seed),)


def test_what_is_not_finite_is_counted_apart_and_equals_itself():
    nan = float("nan")
    old = {"loss": {at(0): 1.0, at(1): None, at(2): nan, at(3): 2.0}, "same": {at(0): nan, at(1): None}}
    new = {"loss": {at(0): 1.5, at(1): 3.0, at(2): nan, at(4): 2.0}, "same": {at(0): nan, at(1): None}}
    assert list(differences(old, new)) == [
        "loss: 2 of 3 differ, at most by 0.5 (1 -> 1.5 at seed 0), 1 of them a number in one only; "
        "2 without a counterpart",
        "equal: same",
    ]
    assert list(differences({"loss": {at(1): None}}, {"loss": {at(1): 2.0}})) == [
        "loss: 1 of 1 differ, for example (nothing -> 2 at seed 1)"
    ]
    assert list(differences(old, old)) == []


def test_two_searches_differ_in_what_they_chose_and_in_their_scores(diff, checkout):
    checkout.write("toy/fit", searching())
    paths = [f"{folder}/runs/toy/fit/near/bp/choice.json" for folder in ("results", "other")]
    for path, best in zip(paths, (0.1, 0.3), strict=True):
        put_choice(checkout.workflow(), path, best)
    code, found, _ = diff(*paths)
    assert code == 1
    assert found["settings"] == ["choice.train.optimizer.lr: 0.1 -> 0.3"]
    assert found["values"] == ["score: 2 of 2 differ, at most by 0.2 (0 -> 0.2 at train.optimizer.lr 0.1)"]


def put_weights(checkout, path: str, numbers: dict) -> None:
    plain = safetensors.numpy.save(numbers)
    body = plain[8 + int.from_bytes(plain[:8], "little") :]
    header = result(checkout.workflow(), RUN)[0] | {"diverged": [False], "sha256": hashlib.sha256(body).hexdigest()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(safetensors.numpy.save(numbers, {"credit": json.dumps(header)}))


def test_weights_are_held_against_each_other_tensor_by_tensor(diff, checkout):
    paths = [path.replace(".jsonl", ".safetensors") for path in (RUN, OTHER)]
    one = {"0.weight": np.arange(6.0).reshape(1, 2, 3), "0.bias": np.full((1, 2), np.nan), "1.weight": np.ones((1, 2))}
    other = {"0.weight": one["0.weight"].copy(), "0.bias": one["0.bias"].copy(), "1.weight": np.ones((1, 3))}
    put_weights(checkout, paths[0], one)
    put_weights(checkout, paths[1], one)
    assert diff(*paths) == NOTHING
    other["0.weight"][0, 1, 2] += 0.5
    put_weights(checkout, paths[1], other)
    assert diff(*paths)[:2] == (1, {"values": [
        "0.weight: 1 of 6 differ, at most by 0.5 (5 -> 5.5 at [0, 1, 2])", "1.weight: [1, 2] -> [1, 3]",
    ]})  # fmt: skip


# ---- tables, figures


SUMMARY = "artefact,dataset,method,metric,select,mean,sd,n,diverged,ci_low,ci_high,unit,epochs,data_verified\n"
RECORDS = "paper,experiment,dataset,method,seed,lr,epoch,step,metric,layer,value,data_verified\n"


def put_tables(checkout, name: str, *texts: str) -> list[str]:
    """The table below results/ and other/, with other contents, each with its record."""
    paths = []
    for folder, text in zip(("results", "other"), texts, strict=True):
        put_all(checkout.workflow(), folder)
        path = f"{folder}/{name}"
        Path(path).write_text(text)
        record = json.loads(record_path(path).read_text())
        record["outputs"][split(path)[1]] = checksum(Path(path))
        write_json(record_path(path), record)
        paths.append(path)
    return paths


def test_summaries_differ_by_metric_and_column(diff, checkout):
    one = (
        SUMMARY
        + "toy/table1,near,bp,test_loss,last,0.5,0.1,2,0,,,,4,true\ntoy/table1,near,fa,x,last,1,,1,0,,,,4,true\n"
    )
    paths = put_tables(checkout, TABLE, one, one.replace("0.5,0.1", "0.7,0.1"))
    assert diff(*paths)[:2] == (1, {"values": [
        "test_loss: 1 of 1 differ, at most by 0.2 (0.5 -> 0.7 at dataset near, method bp, select last, epochs 4)",
        "equal: test_loss (diverged), test_loss (n), test_loss (sd), x, x (diverged), x (n), x (sd)",
    ]})  # fmt: skip
    assert diff(paths[0], paths[0]) == NOTHING


def test_tables_of_records_differ_by_metric_and_place(diff, checkout):
    row = "toy,fit,near,bp,{},0.1,4,8,test_loss,{},{},true\n"
    one = RECORDS + row.format(0, 1, 0.5) + row.format(1, "", 2)
    paths = put_tables(checkout, "tables/toy/fit.csv", one, one.replace(",0.5,", ",0.25,"))
    assert diff(*paths)[1] == {"values": [
        "test_loss: 1 of 2 differ, at most by 0.25 (0.5 -> 0.25 at lr 0.1, dataset near, method bp, seed 0, epoch 4, "
        "step 8, layer 1)",
    ]}  # fmt: skip


def test_figures_differ_in_their_options_and_bytes(diff, checkout):
    put_all(checkout.workflow())
    put_all(checkout.workflow(), "same")
    checkout.change(figures={"curves": {"title": "Another", "options": {"metrics": ["test_loss"]}}})
    put_all(checkout.workflow(), "other")
    Path(f"other/{FIGURE}").write_text("drawn otherwise")
    record = json.loads(record_path(f"other/{FIGURE}").read_text())
    record["outputs"][FIGURE] = checksum(Path(f"other/{FIGURE}"))
    write_json(record_path(f"other/{FIGURE}"), record)
    assert diff(f"results/{FIGURE}", f"same/{FIGURE}") == NOTHING
    assert diff(f"results/{FIGURE}", f"other/{FIGURE}")[:2] == (1, {
        "settings": ["options.metrics: (absent) -> [test_loss]", "title: toy/curves -> Another"],
        "content": ["another one"],
    })  # fmt: skip


# ---- data sets, archives, and what cannot be compared


def test_data_sets_differ_in_their_arrays_and_facts(diff, checkout):
    x, y = np.zeros((6, 1, 2, 2), np.uint8), np.arange(6, dtype=np.uint8)
    arrays = {"train_x": x, "train_y": y, "test_x": x, "test_y": y}
    prepared(Path("one.npz"), arrays)
    prepared(Path("same.npz"), arrays)
    prepared(Path("other.npz"), arrays | {"train_y": y[::-1].copy()}, "renamed")
    assert diff("one.npz", "same.npz") == NOTHING
    code, found, _ = diff("one.npz", "other.npz")
    assert (code, list(found)) == (1, ["data"])
    assert [line.partition(":")[0] for line in found["data"]] == ["arrays.train_y", "name"]


def test_archives_differ_by_the_files_that_they_hold(diff, checkout):
    workflow = checkout.workflow()
    put_all(workflow)
    export(workflow, "toy/fit", Path("all.tar.xz"), stale=False, overwrite=False)
    export(workflow, RUN, Path("one.tar.xz"), stale=False, overwrite=False)
    code, found, _ = diff("all.tar.xz", "one.tar.xz")
    assert (code, found["about"]) == (1, [f"target: toy/fit -> {RUN}"])
    gone = sorted(set(workflow.runs("toy/fit")) - {RUN})
    assert found["files"] == [f"{run.removeprefix('results/')}: only in the first" for run in gone]


def test_a_damaged_result_and_one_of_another_kind_are_refused(diff, checkout):
    put_all(checkout.workflow())
    code, found, err = diff(RUN, f"results/{FIGURE}")
    assert (code, found) == (2, {})
    assert f"{RUN} is a run, results/{FIGURE} a figure; two files of one kind can be compared" in err
    raw = Path(RUN).read_bytes()
    Path(RUN).write_bytes(raw.replace(b'"value": 0.5', b'"value": 0.6'))
    code, found, err = diff(RUN, RUN)
    assert (code, found) == (2, {})
    assert err == f"error: {RUN}: its records were changed after they were written\n"
