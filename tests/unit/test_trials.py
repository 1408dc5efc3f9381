"""Searches whose trials are drawn: the same ones every time, all recorded, none trained twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from credit.config.space import OPTUNA, at_edge, holds, rounded, trial_problem
from credit.errors import CheckpointError, ConfigError
from credit.provenance.records import checkpoint_path
from credit.training import job, trials
from credit.training.checkpoint import Checkpoint
from credit.training.loop import Training
from credit.training.reuse import take_block
from credit.training.sampler import Draws
from tests.unit.in_process import allow_any_module, counted_epochs
from tests.unit.test_train import make_spec

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = str(REPOSITORY / "workflow" / "scripts" / "sample.py")
LR, SCALE = "train.optimizer.lr", "hyper.feedback_scale"
RATES = {"low": 0.001, "high": 1.0, "log": True, "whole": False}
SPACE = {LR: RATES, SCALE: {"low": 0.5, "high": 2.0, "log": False, "whole": False}}
MIXED = {LR: RATES, "hyper.k": {"low": 1, "high": 9, "log": False, "whole": True},
         "hyper.kind": {"choices": ["a, b", 1, True, None, 0.5]}}  # fmt: skip


@pytest.fixture(autouse=True)
def any_module_may_be_loaded(monkeypatch):
    allow_any_module(monkeypatch)


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """Epochs that were trained, one entry each."""
    return counted_epochs(monkeypatch)


def sampler(**more):
    return {"name": "tpe", "optuna": OPTUNA, "trials": 6, "seed": 0, "parallel": 1, "space": SPACE, **more}


def spec(seeds=(1000, 1001), epochs=2, method="fa", **more):
    names = {"paper": "toy", "experiment": "fit", "dataset": "near", "method": method}
    criterion = {"metric": "validation_loss", "select": "last"}
    run = make_spec(method, seeds=seeds, epochs=epochs)
    run["train"]["evaluate"] = {"every": 1, "splits": ["validation"]}
    return {**run, "kind": "search", "criterion": criterion, "sampler": sampler(**more), **names}


def search(given, out: Path, store=None, every=1e9, keep_checkpoint=False):
    """What the script does; returns the content of the choice."""
    if not take_block(store, given, out, [], "cpu"):
        trials.sample(given, out, [], "cpu", checkpoint_path(out), every, SCRIPT, store)
        if not keep_checkpoint:
            checkpoint_path(out).unlink()
    return json.loads(out.read_text())


def drawn(parallel=1, score=lambda at: at[LR], count=20, **more):
    """Trials of a search whose scores are a function of the point."""
    draws, found = Draws(sampler(**more)), []
    while len(found) < count:
        batch = draws.ask(parallel)
        draws.tell([score(at) for at in batch])
        found += batch
    return found


# ---- what is drawn


@pytest.mark.parametrize("name", ["tpe", "random"])
@pytest.mark.parametrize("space", [SPACE, MIXED])
def test_the_same_trials_are_drawn_every_time_and_no_two_are_one_point(name, space):
    found = drawn(name=name, space=space)
    assert json.dumps(found) == json.dumps(drawn(name=name, space=space))
    assert len({at[LR] for at in found}) == len(found)
    assert drawn(name=name, space=space, seed=1)[0] != found[0]
    assert all(holds(space[path], value) for at in found for path, value in at.items())


def test_the_trials_do_not_depend_on_names_nor_on_the_order_of_the_space():
    assert drawn(space=dict(reversed(SPACE.items()))) == drawn()


def test_tpe_draws_by_the_scores_and_random_does_not():
    high = {name: drawn(name=name, score=lambda at: -at[LR], count=40) for name in ("tpe", "random")}
    low = {name: drawn(name=name, count=40) for name in ("tpe", "random")}
    assert high["random"] == low["random"]
    assert high["tpe"][:10] == low["tpe"][:10] == low["random"][:10]
    mean = {which: sum(at[LR] for at in found["tpe"][20:]) / 20 for which, found in (("high", high), ("low", low))}
    assert mean["low"] < 0.02 < 0.3 < mean["high"]


def test_a_trial_that_diverged_counts_as_the_worst():
    """Optuna leaves trials without a number out, and would try where they diverge again and again."""

    def lost(found):
        return sum(at[LR] > 0.03 for at in found[20:])

    found = drawn(score=lambda at: None if at[LR] > 0.03 else 0.5, count=60)
    assert found == drawn(score=lambda at: 1e300 if at[LR] > 0.03 else 0.5, count=60)
    assert lost(found) < 8 < lost(drawn(name="random", count=60))


def test_numbers_are_drawn_to_six_digits_within_their_range():
    assert all(at[LR] == float(f"{at[LR]:.6g}") for at in drawn())
    third = {"low": 1 / 3, "high": 2 / 3, "log": False, "whole": False}
    assert (rounded(third, 0.33333334), rounded(third, 2 / 3)) == (1 / 3, 2 / 3)


def test_choices_keep_their_types():
    found = {json.dumps(at["hyper.kind"]) for at in drawn(space=MIXED, count=60)}
    assert found == {'"a, b"', "1", "true", "null", "0.5"}


def test_another_version_of_optuna_is_refused(monkeypatch):
    import optuna

    monkeypatch.setattr(optuna, "__version__", "4.9.0")
    with pytest.raises(ConfigError, match=rf"optuna 4\.9\.0 is installed.*pip install optuna=={OPTUNA}$"):
        Draws(sampler())


def test_without_optuna_one_line_says_what_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=rf"needs the package optuna .*: pip install optuna=={OPTUNA}$"):
        Draws(sampler())


def test_only_a_search_that_draws_loads_optuna():
    code = "import sys, credit.training.job, credit.dag.targets, credit.dag.searches; print('optuna' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_what_lies_at_an_edge():
    assert [at_edge(RATES, value) for value in (0.001, 0.0013, 0.002, 0.3, 0.9)] == [True, True, False, False, True]
    whole, texts = {"low": 1, "high": 9, "log": False, "whole": True}, {"choices": ["a", "b"]}
    assert [at_edge(whole, value) for value in (1, 2, 9)] == [True, False, True]
    assert [at_edge({"choices": [1.0, 3.0, 2.0]}, value) for value in (1.0, 2.0, 3.0)] == [True, False, True]
    assert not at_edge(texts, "a")


# ---- what is trained and recorded


def test_every_trial_is_recorded_and_the_best_is_chosen(tmp_path, capsys):
    found = search(spec(), tmp_path / "choice.json")
    scores = found["scores"]
    assert [s["trial"] for s in scores] == list(range(6))
    assert all(s["at"].keys() == SPACE.keys() and s["n"] == 2 for s in scores)
    assert found["choice"] == min(scores, key=lambda s: s["score"])["at"]
    for s in scores:
        assert [(run["seed"], run["epochs"], run["diverged"]) for run in s["runs"]] == [
            (1000, 2, False),
            (1001, 2, False),
        ]
        assert s["score"] == sum(run["score"] for run in s["runs"]) / 2
    assert trial_problem(spec()["sampler"], scores) == ""
    said = capsys.readouterr().err
    assert all(f"trial {n}: " in said for n in range(6))


def test_a_trial_is_scored_as_the_point_of_a_grid(tmp_path):
    given = spec(parallel=6)
    found = search(given, tmp_path / "choice.json")["scores"][3]
    grid = {k: v for k, v in given.items() if k != "sampler"} | {"vary": {path: [v] for path, v in found["at"].items()}}
    training = Training(grid)
    training.run()
    [point] = job.score(grid, training)
    assert point["at"] == found["at"]
    assert found["score"] == pytest.approx(point["score"], rel=1e-10)


def test_trials_side_by_side_are_trained_as_one_stack(tmp_path, trained):
    found = search(spec(parallel=5, trials=14), tmp_path / "choice.json")["scores"]
    assert len(trained) == 3 * 2  # batches of 5, 5 and 4, two epochs each
    assert [s["trial"] for s in found] == list(range(14))
    assert [s["at"] for s in found[:6]] == [s["at"] for s in search(spec(), tmp_path / "one.json")["scores"]]


def test_a_point_that_is_drawn_again_is_not_trained_again(tmp_path, trained):
    space = {LR: {"choices": [0.01, 0.1]}}
    found = search(spec(space=space, trials=9, parallel=3), tmp_path / "choice.json")["scores"]
    firsts = {s["at"][LR]: s["trial"] for s in reversed(found)}
    assert len(found) == 9
    assert len(trained) <= 2 * 2
    assert [s.get("repeats", s["trial"]) for s in found] == [firsts[s["at"][LR]] for s in found]
    assert len({(s["at"][LR], s["score"]) for s in found}) == 2


def test_a_diverged_trial_is_recorded_and_is_not_chosen(tmp_path):
    space = {LR: {"low": 0.003, "high": 30.0, "log": True, "whole": False}}
    found = search(spec(space=space, trials=8), tmp_path / "choice.json")
    lost = [s for s in found["scores"] if s["score"] is None]
    assert lost and len(lost) < 8
    assert any(run["diverged"] for run in lost[0]["runs"])
    assert all((run["score"] is None) == run["diverged"] for s in found["scores"] for run in s["runs"])
    assert found["choice"] in [s["at"] for s in found["scores"] if s["score"] is not None]


def test_a_search_of_which_every_trial_diverged_says_so(tmp_path):
    space = {LR: {"low": 1e9, "high": 1e10, "log": True, "whole": False}}
    with pytest.raises(ConfigError, match="every one of 3 trials diverged; give smaller values"):
        search(spec(space=space, trials=3), tmp_path / "choice.json")
    assert not (tmp_path / "choice.json").exists()


def test_the_best_at_an_edge_of_the_space_is_reported(tmp_path, capsys):
    space = {LR: {"low": 1e-9, "high": 1e-7, "log": True, "whole": False}}
    found = search(spec(space=space, trials=12), tmp_path / "choice.json")
    assert found["at_edge"] == {LR: True}
    assert f"note: the best {LR} = {found['choice'][LR]} is at the edge of the space" in capsys.readouterr().err


def test_whole_numbers_and_texts_are_tried_one_after_another(tmp_path):
    space = {LR: RATES, "hyper.feedback": {"choices": ["xavier_normal", "zeros"]}}
    found = search(spec(method="dfa", space=space, trials=6, epochs=1), tmp_path / "choice.json")["scores"]
    assert {s["at"]["hyper.feedback"] for s in found} == {"xavier_normal", "zeros"}


# ---- killed


class Killed(BaseException):
    pass


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_killed_search_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch, trained, parallel):
    given = spec(parallel=parallel, trials=9 if parallel > 1 else 4)
    search(given, tmp_path / "whole.json")
    whole, out = (tmp_path / "whole.json").read_bytes(), tmp_path / "choice.json"
    once, moments, rng = len(trained), 0, random.Random(3)
    for module, name in ((Checkpoint, "save"), (Training, "_epoch"), (trials.Log, "add"), (trials, "write_text")):
        original = getattr(module, name)

        def dying(*args, original=original, **kwargs):
            if rng.random() < 0.2:
                raise Killed
            done = original(*args, **kwargs)
            if rng.random() < 0.1:
                raise Killed
            return done

        monkeypatch.setattr(module, name, dying)
    for _ in range(1000):
        try:
            search(given, out, every=0.0, keep_checkpoint=True)
        except Killed:
            moments += 1
        else:
            break
    assert moments > 5
    assert out.read_bytes() == whole
    assert len(trained) - once <= once + moments  # what was trained before is not trained again, but for an epoch
    assert sorted(path.name for path in tmp_path.iterdir()) == ["choice.json", "choice.json.ckpt", "whole.json"]


def test_a_retry_of_a_finished_search_trains_nothing_and_a_forced_one_trains_all(tmp_path, trained):
    out = tmp_path / "choice.json"
    search(spec(trials=4), out, keep_checkpoint=True)
    content = out.read_bytes()
    out.unlink()
    search(spec(trials=4), out, keep_checkpoint=True)
    assert (len(trained), out.read_bytes()) == (8, content)
    search(spec(trials=4), out, keep_checkpoint=True)  # it is there, and asked for again
    assert (len(trained), out.read_bytes()) == (16, content)


def test_trials_of_another_search_are_not_taken(tmp_path, monkeypatch, trained):
    out = tmp_path / "choice.json"
    search(spec(trials=4), out, keep_checkpoint=True)
    out.unlink()
    search(spec(trials=4, seed=1), out, keep_checkpoint=True)
    assert len(trained) == 16
    out.unlink()
    monkeypatch.setattr(Draws, "_value", lambda self, path, drawn: 0.5)
    with pytest.raises(CheckpointError, match="holds other trials than are drawn here; delete it"):
        search(spec(trials=4, seed=1), out)


def test_a_copy_of_the_job_that_is_outrun_leaves_the_choice_as_it_is(tmp_path, monkeypatch, capsys):
    out, other, add = tmp_path / "choice.json", tmp_path / "other.json", trials.Log.add
    whole = search(spec(trials=3), other)
    done = []

    def overtaken(self, *found):
        add(self, *found)
        done.append(out.write_bytes(other.read_bytes()))

    monkeypatch.setattr(trials.Log, "add", overtaken)
    monkeypatch.setattr(trials, "write_text", None)
    assert search(spec(trials=3), out) == whole
    assert len(done) == 1
    assert "another copy of this job has finished" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.trial.ckpt"))


def test_a_search_is_taken_from_the_store(tmp_path, trained):
    store = tmp_path / "store"
    one = search(spec(trials=3), tmp_path / "one" / "choice.json", store)
    other = search({**spec(trials=3), "experiment": "other"}, tmp_path / "other" / "choice.json", store)
    assert len(trained) == 6
    assert (one["scores"], one["choice"]) == (other["scores"], other["choice"])
    search(spec(trials=3, seed=1), tmp_path / "third" / "choice.json", store)
    assert len(trained) == 12


def test_a_spec_of_another_length_holds_other_trials():
    found = [{"trial": n, "at": at} for n, at in enumerate(drawn(count=6))]
    assert trial_problem(sampler(), found) == ""
    assert trial_problem(sampler(trials=7), found) == "holds 6 trials; its spec has 7, or others"
    found[3]["at"] = {**found[3]["at"], LR: 7.0}
    assert trial_problem(sampler(), found) == f"trial 3: {LR} = 7.0 is not of the space of its spec"
