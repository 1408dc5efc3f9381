"""`credit list`: what there is and in which state, without a look at contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_checkout import FIT, Checkout, put, put_all, put_choice, searching

from credit.__main__ import main
from credit.config.files import overlay
from tests.conftest import REPOSITORY, prepared

FIGURE, TABLE = "results/figures/toy/curves.pdf", "results/tables/toy/table1.csv"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


@pytest.fixture
def listed(checkout, capsys):
    """Runs the command; returns (exit code, {section: {name: the rest of its line}}, what is said on stderr)."""

    def run(*arguments: str):
        code = main(["list", *arguments], checkout.root)
        out, err = capsys.readouterr()
        sections: dict[str, dict[str, str]] = {}
        for line in out.splitlines():
            if line.startswith("  "):
                name, _, rest = line.strip().partition(" ")
                sections[list(sections)[-1]][name] = " ".join(rest.split())
            else:
                sections[line] = {}
        return code, sections, err

    return run


def test_everything_is_listed_with_its_title_and_state(listed):
    code, found, _ = listed()
    assert (code, list(found)) == (0, ["experiments", "figures", "tables", "data", "methods"])
    assert found["experiments"] == {"toy/fit": "missing A small regression"}
    assert found["figures"] == {FIGURE: "missing"}
    assert list(found["tables"]) == [TABLE, "results/tables/fidelity.csv"]
    assert found["data"]["mnist"] == "missing MNIST handwritten digits"
    assert found["methods"] == {"bp": "in 1 experiment BP", "fa": "in 1 experiment FA"}


def test_a_method_of_another_name_tells_its_learning_rule(listed, checkout):
    checkout.write("toy/fit", FIT | {"methods": {"slow": {"rule": "fa"}, "bp": {}}} | {"figures": {}, "tables": {}})
    assert listed("methods")[1]["methods"]["slow"] == "in 1 experiment FA (fa)"


def test_states_follow_what_is_on_disk_and_what_would_be_made_now(listed, checkout):
    workflow = checkout.workflow()
    runs = workflow.runs("toy/fit")
    put(workflow, runs[0])
    assert listed()[1]["experiments"]["toy/fit"].startswith(f"1 of {len(runs)} made A small")
    put_all(workflow)
    found = listed()[1]
    assert found["experiments"]["toy/fit"].startswith("made ")
    assert (found["figures"][FIGURE], found["tables"][TABLE]) == ("made", "made")
    Path(FIGURE.replace(".pdf", ".png")).unlink()
    Path("results/records/tables/toy/table1.csv.json").unlink()
    Path(runs[1]).write_text("of no header\n")
    found = listed()[1]
    assert (found["figures"][FIGURE], found["tables"][TABLE]) == ("missing", "stale")
    assert found["experiments"]["toy/fit"].startswith(f"{len(runs) - 1} of {len(runs)} made, 1 stale ")
    checkout.change(train={"epochs": 7})
    put_all(workflow)
    found = listed()[1]
    assert found["experiments"]["toy/fit"].startswith("stale ")
    assert (found["figures"][FIGURE], found["tables"][TABLE]) == ("stale", "stale")


def test_a_run_that_was_trained_with_another_choice_is_stale(listed, checkout):
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    choice = "results/runs/toy/fit/near/bp/choice.json"
    put_choice(workflow, choice)
    jobs = 1 + len(workflow.runs("toy/fit"))
    assert listed()[1]["experiments"]["toy/fit"].startswith(f"1 of {jobs} made A")
    for path in workflow.runs("toy/fit"):
        put(workflow, path, {"train.optimizer.lr": 0.1})
    assert listed()[1]["experiments"]["toy/fit"].startswith("made ")
    put_choice(workflow, choice, best=0.3)
    assert listed()[1]["experiments"]["toy/fit"].startswith(f"1 of {jobs} made, {jobs - 1} stale ")


def test_a_data_set_that_was_prepared_otherwise_is_stale(listed, checkout, monkeypatch):
    path = checkout.root / "results/data/digits.npz"
    path.parent.mkdir(parents=True)
    x, y = np.zeros((6, 1, 2, 2), np.uint8), np.arange(6, dtype=np.uint8)
    prepared(path, {"train_x": x, "train_y": y, "test_x": x, "test_y": y}, "digits")
    assert listed("data")[1]["data"]["digits"].startswith("made ")
    monkeypatch.setattr("credit.data.seal.code", lambda format_: "other")
    assert listed("data")[1]["data"]["digits"].startswith("stale ")


def test_data_of_the_users_own_is_listed_from_the_file_that_declares_it(listed, checkout):
    own = "mine: {source: user, format: csv, path: mine.csv, label: y, title: My flowers}\n"
    own += "bare: {source: user, format: npz, path: bare.npz}\n"
    (checkout.root / "config/own_datasets.yaml").write_text(own)
    (checkout.root / "config/datasets.yaml").write_bytes((REPOSITORY / "config/datasets.yaml").read_bytes())
    found = listed("data")[1]["data"]
    assert (found["mine"], found["bare"]) == ("missing My flowers", "missing")
    assert found["mnist"] == "missing MNIST handwritten digits"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("figures", [FIGURE]),
        ("toy/fit", ["toy/fit"]),
        ("REGRESSION", ["toy/fit"]),
        ("*/curves.*", [FIGURE]),
        ("fashion", ["fashion_mnist"]),
        ("table1", [TABLE]),
    ],
)
def test_a_pattern_is_a_section_part_of_a_name_or_title_or_a_glob(listed, pattern, names):
    code, found, _ = listed(pattern)
    assert code == 0
    assert [name for rows in found.values() for name in rows] == names
    assert all(found.values()), "no section without rows"


def test_a_pattern_that_nothing_matches_is_an_error_with_the_nearest_name(listed):
    code, found, err = listed("toy/fut")
    assert (code, found, len(err.splitlines())) == (2, {}, 1)
    assert "PATTERN = 'toy/fut' (did you mean 'toy/fit'?)" in err


def test_it_is_that_of_the_configuration_which_is_given(listed, checkout):
    checkout.write("toy/fit", overlay(FIT, {}))
    put_all(checkout.workflow(scale="quick"), "results/quick")
    quick = ("--configfile", str(REPOSITORY / "config/quick.yaml"))
    assert listed(*quick)[1]["figures"] == {FIGURE.replace("results", "results/quick"): "made"}
    assert listed()[1]["figures"] == {FIGURE: "missing"}
    assert "fa" not in listed("--config", "methods=bp")[1]["methods"]
