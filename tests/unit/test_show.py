"""`credit show`: what made a result of any kind, from the file and its record alone."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from small_checkout import Checkout, put, put_all, put_choice, result, searching

from credit.__main__ import main
from credit.dag.transport import export
from credit.provenance.records import sealed, write_result
from tests.conftest import prepared

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
CHOICE = "results/runs/toy/fit/near/bp/choice.json"
FIGURE, TIDY, TABLE = "results/figures/toy/curves.pdf", "results/tables/toy/fit.csv", "results/tables/toy/table1.csv"
MADE = {
    "python": "3.11.7", "packages": {"numpy": "2.4.6", "torch": "2.13.0"}, "cpu": "a processor", "platform": "Linux",
    "git": {"commit": "f" * 40, "dirty": True}, "device": "cpu", "threads": 2, "seconds": 95.2, "call": "0", "also": 1,
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


@pytest.fixture
def show(checkout, capsys):
    """Runs the command; returns (exit code, {name: text of the facts}, all lines, what is said on stderr)."""

    def run(path: str | Path):
        code = main(["show", str(path)], checkout.root)
        out, err = capsys.readouterr()
        lines = out.splitlines()
        facts, name = {}, ""
        for line in lines[2:]:
            found = re.fullmatch(r"(\S*)  +(.*)", line)
            if not found:
                break
            name = found[1] or name
            facts[name] = f"{facts[name]}\n{found[2]}" if name in facts else found[2]
        return code, facts, lines, err

    return run


def weights_of(workflow, path: str) -> None:
    """Weights of a run of this checkout, as a training writes them, with made-up numbers."""
    numbers = {"0.weight": np.arange(12, dtype=np.float64).reshape(1, 4, 3), "0.bias": np.zeros((1, 4))}
    plain = safetensors.numpy.save(numbers)
    body = plain[8 + int.from_bytes(plain[:8], "little") :]
    header = result(workflow, path.replace(".safetensors", ".jsonl"))[0]
    header |= {"diverged": [False, True], "sha256": hashlib.sha256(body).hexdigest()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(safetensors.numpy.save(numbers, {"credit": json.dumps(header)}))


# ---- runs, searches, weights


def test_a_run_tells_its_rule_task_seeds_code_versions_machine_time_and_that_it_is_whole(show, checkout):
    header, records = result(checkout.workflow(), RUN)
    header["provenance"] |= MADE
    write_result(RUN, header, records)
    code, facts, lines, _ = show(RUN)
    assert code == 0
    assert lines[0] == f"{RUN}: a run of fa on near, toy/fit"
    assert facts["content"].startswith("whole and unchanged (sha256 ")
    assert facts["networks"] == "seeds 0, 1; 2 networks side by side"
    assert facts["records"] == "6: test_loss"
    modules = len(header["provenance"]["modules"])
    assert facts["code"] == f"{header['spec']['code']}, {modules} modules, commit ffffffffffff, with changes"
    assert facts["versions"] == "Python 3.11.7, numpy 2.4.6, torch 2.13.0"
    assert facts["environment"] == f"envs/train.yaml {header['spec']['env']}"
    assert (facts["machine"], facts["device"], facts["time"]) == ("a processor, Linux", "cpu, 2 threads", "2 min")
    assert facts["also"] == "also = 1"
    below = lines[lines.index("rule: fa") :]
    for line in ("net: dense", "  hidden_sizes: [4]", "task: teacher", "  n_in: 3", "  optimizer: sgd", "    lr: 0.2"):
        assert line in below


def test_every_setting_of_a_spec_is_shown(show, checkout):
    checkout.change(train={"optimizer": {"lr": 0.125}})
    put(checkout.workflow(), RUN)
    _, _, lines, _ = show(RUN)
    spec = result(checkout.workflow(), RUN)[0]["spec"]
    for part in ("rule", "net", "task", "train"):
        for key in spec[part].keys() - {"name", "kind"}:
            assert any(line.startswith(f"  {key}:") for line in lines), (part, key)
    assert "    lr: 0.125" in lines


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.replace(b'"value": 0.5', b'"value": 0.6'), "its records were changed after they were written"),
        (lambda raw: raw.replace(b'"epochs": 4', b'"epochs": 5'), "its content was changed after it was written"),
        (lambda raw: raw[: raw.rindex(b'{"end"')], "cut off"),
        (lambda raw: raw[:-40], "cut off"),
    ],
)
def test_a_run_that_was_changed_is_shown_as_damaged_with_exit_code_1(show, checkout, change, said):
    put(checkout.workflow(), RUN)
    before = Path(RUN).read_bytes()
    Path(RUN).write_bytes(change(before))
    assert Path(RUN).read_bytes() != before
    code, facts, _, err = show(RUN)
    assert (code, err) == (1, "")
    assert facts["content"].startswith(f"DAMAGED: {said}")


def test_a_search_tells_what_it_chose_its_scores_and_that_the_best_is_at_the_edge(show, checkout):
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    content = json.loads(Path(put_choice(workflow, CHOICE)).read_text())
    content = {k: v for k, v in content.items() if k != "sha256"}
    content |= {"criterion": {"metric": "validation_loss"}, "at_edge": {"train.optimizer.lr": True}}
    Path(CHOICE).write_text(json.dumps(sealed(content)))
    code, facts, lines, _ = show(CHOICE)
    assert (code, lines[0]) == (0, f"{CHOICE}: a search of bp on near, toy/fit")
    assert facts["chosen"] == "train.optimizer.lr = 0.1"
    assert facts["scores"].splitlines() == [
        "metric = validation_loss", "0 at train.optimizer.lr = 0.1", "0.2 at train.optimizer.lr = 0.3",
        "the best lies at the edge of the grid of train.optimizer.lr",
    ]  # fmt: skip
    put(workflow, RUN.replace("/fa/", "/bp/"), {"train.optimizer.lr": 0.1})
    assert show(RUN.replace("/fa/", "/bp/"))[1]["chosen"] == "train.optimizer.lr = 0.1"


def test_kept_weights_tell_their_tensors_and_which_networks_diverged(show, checkout):
    path = RUN.replace(".jsonl", ".safetensors")
    weights_of(checkout.workflow(), path)
    code, facts, lines, _ = show(path)
    assert (code, lines[0]) == (0, f"{path}: weights of fa on near, toy/fit")
    assert facts["tensors"].splitlines() == ["0.bias F64 [1, 4]", "0.weight F64 [1, 4, 3]"]
    assert facts["diverged"] == "1 of 2"
    raw = bytearray(Path(path).read_bytes())
    raw[-1] ^= 1
    Path(path).write_bytes(raw)
    assert show(path)[0] == 1


# ---- tables, figures


def test_a_figure_and_a_table_tell_their_inputs_and_which_of_them_changed(show, checkout):
    runs = checkout.workflow().runs("toy/fit")
    put_all(checkout.workflow())
    code, facts, lines, _ = show(FIGURE)
    assert (code, lines[0]) == (0, f"{FIGURE}: a figure: toy/curves")
    assert facts["inputs"] == "tables/toy/fit.csv"
    assert "module: credit.figures.cross.fig2" in lines
    _, facts, lines, _ = show(TIDY)
    assert lines[0] == f"{TIDY}: the records of toy/fit"
    assert len(facts["inputs"].splitlines()) == len(runs)
    Path(TIDY).write_text("changed\n")
    Path(runs[0]).unlink()
    assert "tables/toy/fit.csv, has another content now" in show(FIGURE)[1]["inputs"]
    code, facts, _, _ = show(TIDY)
    assert code == 1
    assert facts["content"].startswith("DAMAGED: its content was changed after it was made: sha256 ")
    assert facts["inputs"].splitlines()[0].endswith("shard0.jsonl, missing now")
    for path in (FIGURE.replace(".pdf", ".png"), TABLE, TABLE.replace(".csv", ".md")):
        assert show(path)[0] == 0


def test_results_that_were_copied_elsewhere_are_shown_with_their_record(show, checkout, tmp_path):
    put_all(checkout.workflow(), str(tmp_path / "copied/results"))
    code, facts, _, _ = show(tmp_path / "copied" / FIGURE)
    assert code == 0
    assert " now" not in facts["inputs"]


# ---- data sets, archives


def test_a_prepared_data_set_tells_its_images_originals_and_whether_they_are_whole(show, checkout):
    path = Path("results/data/toy.npz")
    path.parent.mkdir(parents=True)
    x, y = np.zeros((6, 1, 2, 2), np.uint8), np.arange(6, dtype=np.uint8)
    prepared(path, {"train_x": x, "train_y": y, "test_x": x[:4], "test_y": y[:4]})
    code, facts, lines, _ = show(path)
    assert (code, lines[0]) == (0, f"{path}: the data set toy, prepared")
    assert facts["images"] == "6 to train, 4 to test, 10 classes"
    assert (facts["originals"], facts["format"]) == ("the published files", "digits, grey levels 0 to 255")
    with np.load(path) as archive:
        changed = {**archive, "train_y": (y + 1) % 6}
    np.savez(path, **changed)
    code, facts, _, _ = show(path)
    assert code == 1
    assert "train_y: its content was changed after it was prepared" in facts["content"]


def test_an_archive_tells_its_target_scale_and_files(show, checkout):
    workflow = checkout.workflow()
    put_all(workflow)
    export(workflow, "toy/fit", Path("kept.tar.xz"), stale=False, overwrite=False)
    code, facts, lines, _ = show("kept.tar.xz")
    runs = workflow.runs("toy/fit")
    assert (code, lines[0]) == (0, f"kept.tar.xz: an archive of {len(runs)} results below toy/fit, scale paper")
    assert facts["content"] == "whole and unchanged"
    assert [line.partition(",")[0] for line in facts["files"].splitlines()] == sorted(
        run.removeprefix("results/") for run in runs
    )
    raw = Path("kept.tar.xz").read_bytes()
    Path("kept.tar.xz").write_bytes(raw[:-12])
    assert show("kept.tar.xz")[0] == 1


def test_a_large_content_is_said_not_to_be_read(show, checkout, monkeypatch):
    put(checkout.workflow(), RUN)
    monkeypatch.setattr("credit.dag.resultfile.LARGE", 10)
    assert show(RUN)[1]["content"] == "not held against its checksum, it is large: `credit verify` does"


# ---- what is none


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("results/nowhere.jsonl", "results/nowhere.jsonl: no such file"),
        ("config", "config: is a folder; must be a run"),
        ("config/config.yaml", "config/config.yaml: not a result; must be a run (.jsonl)"),
        ("figures/toy/curves.pdf", "no record of how it was made (records/figures/toy/curves.json: no such file)"),
        ("results/records/figures/toy/curves.json", "is a record; give a file that it is of: figures/toy/curves.csv"),
        ("empty.jsonl", "embeds no spec and provenance"),
        ("empty.safetensors", "not the weights of a training job"),
        ("empty.npz", "not a prepared data set"),
        ("empty.tar.xz", "not an archive of `credit export`"),
    ],
)
def test_what_is_no_result_is_named_in_one_line_with_exit_code_2(show, checkout, path, message):
    put_all(checkout.workflow())
    Path("figures/toy").mkdir(parents=True)
    Path("figures/toy/curves.pdf").write_text("alone")
    for end in ("jsonl", "safetensors", "npz", "tar.xz"):
        Path(f"empty.{end}").write_text("")
    code, _, lines, err = show(path)
    assert (code, lines, len(err.splitlines())) == (2, [], 1)
    assert message in err


def test_it_reads_neither_the_workflow_nor_a_library_of_numbers(checkout):
    put_all(checkout.workflow())
    looked = "('torch', 'numpy', 'pandas', 'yaml', 'credit.dag.targets')"
    code = (
        f"import sys; from credit.__main__ import main; codes = [main(['show', path]) for path in sys.argv[1:]]; "
        f"assert codes == [0, 0], codes; assert not [m for m in {looked} if m in sys.modules]"
    )
    words = [sys.executable, "-c", code, RUN, FIGURE]
    done = subprocess.run(words, cwd=checkout.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_are_indented_and_parts_stand_beside_their_key():
    from credit.dag.show import nested

    found = nested(
        {
            "net": {"kind": "dense", "init": {"name": "given", "values": [1.0, 2]}, "bias": True},
            "probes": [{"probe": "p", "where": {"a": None}}, {"probe": "q"}],
            "empty": {},
        }
    )
    assert found == [
        "net: dense", "  init: given", "    values: [1.0, 2]", "  bias: true", "probes:",
        "  - probe: p, where: {a: null}", "  - probe: q", "empty: {}",
    ]  # fmt: skip


def test_data_of_the_users_own_is_not_called_published(show, tmp_path):
    path, x, y = tmp_path / "mine.npz", np.zeros((6, 2, 1, 1), np.float32), np.arange(6, dtype=np.uint8)
    prepared(path, {"train_x": x, "train_y": y, "test_x": x, "test_y": y}, "mine", scale=1, format_="csv")
    _, facts, _, _ = show(path)
    assert (facts["originals"], facts["format"]) == ("files of the user's own", "csv")
