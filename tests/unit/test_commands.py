"""`credit`: what it prints, and the exit code: 0 all is well, 1 stale or damaged, 2 no answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_checkout import FIT, REPOSITORY, Checkout, put, put_all, put_choice, put_made, result, searching

from credit.__main__ import main
from credit.dag import commands
from credit.dag.endings import FILES
from credit.dag.runs import place_of
from credit.data.load import state_of
from credit.errors import ConfigError
from credit.provenance.files import checksum, write_json, write_text
from credit.provenance.records import sealed, write_result
from tests.conftest import prepared

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
SEARCHED = "results/runs/toy/fit/near/bp/shard0.jsonl"
CHOICE = "results/runs/toy/fit/near/bp/choice.json"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    return Checkout(tmp_path)


@pytest.fixture
def credit_of(capsys, monkeypatch):
    """Of a checkout, what runs a command in it; returns (exit code, lines printed, what is said on stderr)."""

    def of(checkout: Checkout):
        def run(*arguments: str) -> tuple[int, list[str], str]:
            monkeypatch.chdir(checkout.root)
            code = main(arguments, checkout.root)
            out, err = capsys.readouterr()
            return code, out.splitlines(), err

        return run

    return of


@pytest.fixture
def credit(checkout, credit_of):
    """Runs a command in the checkout, see `credit_of`."""
    return credit_of(checkout)


# ---- configuration

ENTRIES = [
    "seeds=2", "seeds=2.5", "seeds=1e3", "seeds=", "seeds=null", "methods=bp,fa", "methods=[bp, fa]", "methods=[bp",
    "methods='bp'", "data={mirror: /x}", "data={'mirror': '/x', allow_unverified: {cifar10: 00}}", "flag=True",
    "flag=true", "a_b=x=y", "device=cpu",
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_are_read_as_snakemake_reads_them(entry):
    cli = pytest.importorskip("snakemake.cli")
    assert commands.parse_config([entry]) == cli.parse_config([entry])


@pytest.mark.parametrize("entry", ["seeds", "=2", "data.mirror=/x", "s=2", "2x=1"])
def test_what_is_no_entry_is_refused_as_by_snakemake(entry):
    cli = pytest.importorskip("snakemake.cli")
    with pytest.raises(ValueError):
        cli.parse_config([entry])
    with pytest.raises(ConfigError, match="must be KEY=VALUE"):
        commands.parse_config([entry])


def test_entries_lie_over_files_and_files_over_the_shipped_configuration(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("seeds: 3\ndata: {mirror: /one}\n")
    two.write_text("seeds: 4\ndevice: cpu\n")
    found = commands.configuration([one, two], ["device=cuda", "data={user_files: /u}"], REPOSITORY)
    assert (found["scale"], found["seeds"], found["device"]) == ("paper", 4, "cuda")
    assert found["data"] == {"folder": "results/data", "mirror": "/one", "user_files": "/u", "allow_unverified": {}}


@pytest.mark.parametrize(
    ("path", "scale"),
    [
        ("results/runs/toy/fit/near/fa/shard0.jsonl", "paper"),
        ("results/quick/runs/toy/fit/near/fa/shard0.jsonl", "quick"),
        ("/elsewhere/results/quick/tables/toy/fit.csv", "quick"),
        ("/elsewhere/runs/results/figures/fig1.pdf", "paper"),
        ("quick/figures/fig1.pdf", "quick"),
        ("copied/runs/toy/fit/near/fa/shard0.jsonl", None),
        ("all", None),
    ],
)
def test_a_path_says_of_which_scale_it_is(path, scale):
    assert place_of(path)[0] == scale


# ---- the command itself


def test_without_a_command_it_explains_itself_on_one_screen(credit):
    code, lines, _ = credit()
    assert code == 0
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 110
    for word in ("plan", "list", "show", "diff", "why", "verify", "cite", "--configfile", "exit code"):
        assert any(word in line for line in lines)


def test_help_says_that_results_from_elsewhere_are_checked(credit, capsys):
    with pytest.raises(SystemExit):
        credit("verify", "--help")
    assert "copied from another machine" in " ".join(capsys.readouterr().out.split())


def test_it_answers_from_a_shell_without_torch():
    code = "import sys; from credit.__main__ import main; main(['plan']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cross/images" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "al"], "error: target = 'al' (did you mean 'all'?)"),
        (["cite", "toy/fi"], "error: target = 'toy/fi' (did you mean 'toy/fit'?)"),
        (["cite", "results/runs/toy/fit/near/bq/shard0.jsonl"], "method = 'bq'"),
        (
            ["plan", "all", "results/quick/figures/toy/curves.pdf"],
            "are of results/ and results/quick/; plan them one by one",
        ),
        (["plan", "--config", "methods=bq"], "error: config: methods = 'bq'"),
        (["plan", "--config", "seeds"], "error: --config seeds: must be KEY=VALUE"),
        (["plan", "--configfile", "nowhere.yaml"], "error: nowhere.yaml: cannot be read"),
        (["why", "results/runs/toy/fit/near/bq/shard0.jsonl"], "method = 'bq'"),
        (["why", RUN], f"error: {RUN}: cannot be read: No such file"),
        (["verify"], "error: results: no such file or folder"),
        (["verify", "config"], "error: config: holds no results"),
        (["verify", "config/config.yaml"], "error: config/config.yaml: not a result"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(credit, arguments, message):
    code, lines, err = credit(*arguments)
    assert (code, lines, len(err.splitlines())) == (2, [], 1)
    assert message in err


# ---- plan


def test_a_plan_lists_experiments_and_a_total(credit):
    code, lines, _ = credit("plan", "--config", "methods=bp", "datasets=near", "seeds=4")
    assert code == 0
    table = [line.split() for line in lines]
    assert table[0][:2] == ["experiment", "jobs"]
    assert table[2][:3] == ["toy/fit", "2", "4"]
    assert table[4][:3] == ["total", "2", "4"]
    assert "2 of 2 jobs" in lines[2]


@pytest.mark.parametrize("command", ["plan", "cite"])
@pytest.mark.parametrize("target", ["results/tables/toy/table1.csv", "toy/fit", "toy"])
def test_a_target_may_be_written_as_a_path_from_anywhere(credit, checkout, command, target):
    plain = credit(command, target)
    assert plain[0] == 0
    assert credit(command, f"./{target}") == credit(command, f"{target}/") == plain
    assert credit(command, str(checkout.root / target)) == plain


def test_a_plan_knows_the_quick_scale(credit):
    _, lines, _ = credit("plan", "results/quick/figures/toy/curves.pdf")
    assert lines[2].split()[:3] == ["toy/fit", "2", "2"]


def test_a_plan_of_several_targets_is_that_of_all_of_them(credit):
    figure, table = "results/figures/toy/curves.pdf", "results/tables/toy/table1.csv"
    assert credit("plan", figure, table) == credit("plan", table) == credit("plan", "--config", "seeds=4", "--", table)
    code, lines, _ = credit("plan", RUN, figure.replace("curves", "curve"))
    assert (code, lines) == (2, [])


def test_a_plan_says_when_nothing_is_left_to_run(credit, checkout):
    workflow = checkout.workflow(methods="bp", datasets="near")
    for path in workflow.runs("toy/fit"):
        put(workflow, path)
    _, lines, _ = credit("plan", "--config", "methods=bp", "datasets=near")
    assert lines[2].endswith("nothing")


# ---- why


def test_a_fresh_result_is_up_to_date(credit, checkout):
    put(checkout.workflow(), RUN)
    assert credit("why", RUN)[:2] == (0, ["up to date"])


def test_a_changed_setting_is_named_with_both_values(credit, checkout):
    put(checkout.workflow(), RUN)
    checkout.change(train={"epochs": 7, "optimizer": {"momentum": 0.2, "lr": 0.5}})
    assert credit("why", RUN)[:2] == (1, [
        "train.epochs: 4 -> 7", "train.optimizer.lr: 0.2 -> 0.5", "train.optimizer.momentum: 0.5 -> 0.2",
    ])  # fmt: skip


def altered(checkout, change, path=RUN):
    """A result whose header was changed after the fact."""
    header, records = result(checkout.workflow(), path)
    change(header)
    write_result(path, header, records)


def test_a_changed_module_is_named(credit, checkout):
    def edit(header):
        modules = header["provenance"]["modules"]
        modules["credit.methods.fa"] = "0" * 16
        modules["credit.methods.old"] = modules.pop("credit.numerics.rand")
        header["spec"]["code"] = "0" * 16

    altered(checkout, edit)
    assert credit("why", RUN)[:2] == (1, [
        "module credit.methods.fa: changed", "module credit.methods.old: no longer used",
        "module credit.numerics.rand: new dependency",
    ])  # fmt: skip


def test_a_changed_environment_and_data_set_are_named(credit, checkout):
    altered(checkout, lambda header: header["spec"].update(env="0" * 16, data={"name": "mnist"}))
    code, lines, _ = credit("why", RUN)
    assert code == 1
    assert [line.partition(":")[0] for line in lines] == ["data", "data.name", "env"]


def test_a_quick_result_is_compared_with_the_quick_scale(credit, checkout):
    path = put(checkout.workflow(scale="quick"), RUN.replace("results", "results/quick"))
    assert credit("why", path)[:2] == (0, ["up to date"])


def test_the_command_line_may_say_with_which_settings_it_was_made(credit, checkout):
    put(checkout.workflow(seeds=1), RUN)
    assert credit("why", RUN)[:2] == (1, ["seeds: [0] -> [0, 1]"])
    assert credit("why", RUN, "--config", "seeds=1")[:2] == (0, ["up to date"])


@pytest.fixture
def searched(checkout):
    checkout.write("toy/fit", searching())
    workflow = checkout.workflow()
    put_choice(workflow, CHOICE)
    for path in workflow.runs("toy/fit"):
        put(workflow, path, {"train.optimizer.lr": 0.1})
    return checkout


def test_a_run_and_its_search_are_up_to_date(credit, searched):
    assert credit("why", SEARCHED)[0] == 0
    assert credit("why", CHOICE)[0] == 0


def test_a_search_that_chose_something_else_makes_its_runs_stale(credit, searched):
    put_choice(searched.workflow(), CHOICE, best=0.3)
    line = 'chosen: {"train.optimizer.lr": 0.1} -> {"train.optimizer.lr": 0.3}'
    assert credit("why", SEARCHED)[:2] == (1, [line])


def test_a_stale_or_missing_search_makes_its_runs_stale(credit, searched):
    searched.write("toy/fit", searching(search={"epochs": 9}))
    assert credit("why", SEARCHED)[:2] == (1, ["choice.json of its search: train.epochs: 2 -> 9"])
    Path(CHOICE).unlink()
    assert credit("why", SEARCHED)[:2] == (1, ["choice.json of its search: missing"])


@pytest.mark.parametrize("target", ["figures/toy/curves.pdf", "tables/toy/fit.csv", "tables/toy/table1.md"])
def test_below_a_figure_or_table_every_stale_and_missing_run_is_listed(credit, checkout, target):
    checkout.write("toy/fit", {**FIT, "datasets": {"near": {}}})
    workflow = checkout.workflow()
    first, *others = workflow.runs("toy/fit")
    put_all(workflow)
    artefact = Path("results") / target
    assert credit("why", str(artefact))[:2] == (0, ["up to date"])
    altered(checkout, lambda header: header["spec"].update(env="0" * 16), others[0])
    Path(others[1]).write_text("cut off")
    Path(first).unlink()
    code, lines, _ = credit("why", str(artefact))
    assert code == 1
    assert lines[0] == f"{first}: missing"
    assert lines[1].startswith(f"{others[0]}: env: ")
    assert lines[2].startswith(f"{others[1]}: embeds no spec and provenance")
    assert len(lines) == 3


def test_results_elsewhere_are_found_beside_the_figure(credit, checkout, tmp_path):
    body = {**FIT, "datasets": {"near": {}}, "methods": {"fa": {}}, "seeds": 2}
    checkout.write("toy/fit", body)
    copied = tmp_path / "copied"
    put_all(checkout.workflow(), str(copied / "results"))
    figure = copied / "results" / "figures" / "toy" / "curves.pdf"
    assert credit("why", str(figure))[:2] == (0, ["up to date"])
    (copied / RUN).unlink()
    assert credit("why", str(figure))[:2] == (1, [f"{copied / RUN}: missing"])


@pytest.fixture
def made(checkout):
    """A checkout with all results."""
    put_all(checkout.workflow())
    return checkout


FIGURE, TIDY, TABLE = "results/figures/toy/curves.pdf", "results/tables/toy/fit.csv", "results/tables/toy/table1.csv"


def test_a_figure_tells_of_changes_of_its_own_code_and_options(credit, made):
    record = Path("results/records/figures/toy/curves.json")
    content = json.loads(record.read_text())
    content["provenance"]["modules"]["credit.figures.looks"] = content["spec"]["code"] = "0" * 16
    record.write_text(json.dumps(content))
    assert credit("why", FIGURE)[:2] == (1, ["module credit.figures.looks: changed"])
    assert credit("why", TABLE)[:2] == (0, ["up to date"])
    made.change(figures={"curves": {"options": {"metrics": ["test_loss"]}}})
    assert 'options.metrics: (absent) -> ["test_loss"]' in credit("why", FIGURE)[1]
    assert credit("why", TIDY)[0] == 0


def test_other_seeds_than_a_table_was_made_of_are_told(credit, made):
    runs = made.workflow(seeds=2).runs("toy/fit")
    assert all(Path(run).exists() for run in runs)
    lines = credit("why", TIDY, "--config", "seeds=2")[1]
    assert "inputs: other runs or tables than those that it was made from" in lines


def test_what_was_made_of_something_else_or_in_an_unknown_way_is_told(credit, made):
    put_made(made.workflow(), TIDY, [])
    Path(TIDY).write_text("other\n")
    changed = "tables/toy/fit.csv, from which it was made: has another content now"
    assert credit("why", FIGURE)[1][0] == changed
    assert credit("why", FIGURE)[1][1].startswith(f"{TIDY}: its content was changed after it was made: sha256 ")
    Path("results/records/tables/toy/table1.md.json").unlink()
    assert credit("why", TABLE.replace(".csv", ".md"))[1][0].startswith(
        "no record of how it was made (results/records/"
    )


# ---- verify


def summary(good=0, stale=0, damaged=0, unknown=0, unverified=0):
    return (
        f"{good + stale + damaged + unknown} results: {good} good, {stale} stale, {damaged} damaged, "
        f"{unknown} not part of the present configuration; {unverified} from unverified data"
    )


def test_whole_results_of_both_scales_are_good(credit, searched):
    put(
        searched.workflow(scale="quick"), "results/quick/runs/toy/fit/near/bp/shard0.jsonl", {"train.optimizer.lr": 0.1}
    )
    put_choice(searched.workflow(scale="quick"), "results/quick/runs/toy/fit/near/bp/choice.json")
    assert credit("verify")[:2] == (0, [summary(good=5)])


def test_stale_results_are_named_with_a_reason(credit, checkout):
    put(checkout.workflow(), RUN)
    checkout.change(train={"epochs": 7})
    assert credit("verify")[:2] == (1, [f"{RUN}: stale: train.epochs: 4 -> 7", summary(stale=1)])


def test_a_result_that_was_cut_off_is_damaged(credit, checkout):
    put(checkout.workflow(), RUN)
    Path(RUN).write_text("".join(Path(RUN).read_text().splitlines(keepends=True)[:-1]))
    code, lines, _ = credit("verify", RUN)
    assert code == 1
    assert lines[0].startswith(f"{RUN}: damaged: cut off after 7 lines")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "much"}, "line 2: value = 'much'; must be a finite number, or null"),
        ({"value": True}, "line 2: value = True"),
        ({"epoch": -1}, "line 2: epoch = -1; must be a whole number >= 0"),
        ({"step": 1.5}, "line 2: step = 1.5"),
        ({"metric": None}, "line 2: metric = None; must be text"),
        ({"seed": 9}, "line 2: {'seed': 9} is none of the spec's members"),
        ({"lr": 0.1}, "line 2: {'lr': 0.1, 'seed': 0} is none of the spec's members"),
    ],
)
def test_an_implausible_record_is_damage(credit, checkout, change, message):
    header, records = result(checkout.workflow(), RUN)
    write_result(RUN, header, [records[0] | change, *records[1:]])
    code, lines, _ = credit("verify", "results")
    assert code == 1
    assert lines[0].startswith(f"{RUN}: damaged: {message}")


def test_null_is_a_plausible_value(credit, checkout):
    header, records = result(checkout.workflow(), RUN)
    write_result(RUN, header, [*records, records[0] | {"metric": "diverged", "value": None}])
    assert credit("verify")[0] == 0


def test_a_number_that_json_does_not_know_is_damage(credit, checkout):
    put(checkout.workflow(), RUN)
    *lines, _ = Path(RUN).read_text().replace('"value": 0.5', '"value": Infinity').splitlines()
    Path(RUN).write_text("\n".join([*lines, json.dumps({"end": True, "records": len(lines) - 1})]))
    assert "value = inf" in credit("verify")[1][0]


def test_every_changed_value_shows(credit, searched):
    put_all(searched.workflow(), chosen={"train.optimizer.lr": 0.1})
    files = [CHOICE, *(str(p) for kind in ("runs", "tables", "figures") for p in Path("results", kind).rglob("shard*"))]
    files += [FIGURE.replace("pdf", end) for end in FILES["figures"]]
    files += [TIDY, *(TABLE.replace("csv", end) for end in FILES["tables"])]
    for file in files:
        path = Path(file)
        before = path.read_bytes()
        path.write_bytes(before.replace(b"0.5", b"0.6").replace(b"made", b"fade"))
        assert path.read_bytes() != before
        for command in ("verify", "why"):
            code, lines, _ = credit(command, file)
            assert code == 1
            assert any("its content was changed after it was" in line for line in lines), (command, file)
        path.write_bytes(before)
    assert credit("verify")[0] == 0


def test_a_benchmark_is_known_by_its_checksum_and_never_stale(credit, checkout):
    path = "results/bench/stack.csv"
    write_text(path, "benchmark,value\nstack,1.5\n")
    assert credit("verify", path)[1][-1] == summary(unknown=1)
    content = {"spec": {}, "provenance": {}, "inputs": {}, "outputs": {"bench/stack.csv": checksum(Path(path))}}
    write_json(Path("results/records/bench/stack.csv.json"), content)
    assert credit("verify")[:2] == (0, [summary(good=1)])
    write_text(path, "benchmark,value\nstack,1.6\n")
    assert credit("verify")[1][-1] == summary(damaged=1)


def test_tables_and_figures_are_verified_with_the_runs(credit, made):
    assert credit("verify")[:2] == (0, [summary(good=len(made.workflow().runs("toy/fit")) + 8)])
    assert credit("verify", "results/figures")[1][-1] == summary(good=4)
    Path("results/records/figures/toy/curves.json").unlink()
    assert credit("verify", FIGURE)[1][-1] == summary(stale=1)
    Path(FIGURE).rename(FIGURE.replace("curves", "other"))
    assert credit("verify", FIGURE.replace("curves", "other"))[1][-1] == summary(unknown=1)


def test_tables_and_figures_that_are_missing_are_named_by_their_records(credit, made):
    lost = [FIGURE.replace(".pdf", ".png"), TABLE.replace(".csv", ".md")]
    for path in lost:
        Path(path).unlink()
    code, lines, _ = credit("verify")
    said = "stale: missing, though its record is there; make it again by naming it as a target"
    assert (code, sorted(lines[:-1])) == (1, sorted(f"{path}: {said}" for path in lost))
    assert lines[-1] == summary(good=len(made.workflow().runs("toy/fit")) + 6, stale=2)
    assert credit("verify", "results/figures")[1][-1] == summary(good=3, stale=1)
    assert credit("verify", "results/runs")[0] == 0
    Path("results/records/figures/toy/curves.json").write_text("damaged")
    assert any(line.startswith(f"{FIGURE}: stale: ") for line in credit("verify", "results/figures")[1])


def test_a_seed_without_records_is_damage(credit, checkout):
    header, records = result(checkout.workflow(), RUN)
    write_result(RUN, header, [r for r in records if r["seed"] == 0])
    assert credit("verify")[1][0] == f"{RUN}: damaged: no records of {{'seed': 1}}"


def test_a_result_that_contradicts_itself_is_damage(credit, checkout):
    altered(checkout, lambda header: header["provenance"]["modules"].update({"credit.methods.fa": "0" * 16}))
    code, lines, _ = credit("verify")
    assert code == 1
    assert "damaged: was made by code" in lines[0]


def test_a_result_without_what_was_chosen_is_damage(credit, searched):
    put(searched.workflow(), SEARCHED)
    assert "damaged: chosen = {}; must hold train.optimizer.lr" in credit("verify", SEARCHED)[1][0]


def test_many_problems_are_counted(credit, checkout):
    header, records = result(checkout.workflow(), RUN)
    write_result(RUN, header, [r | {"epoch": -1} for r in records])
    lines = credit("verify")[1]
    assert len(lines) == 5
    assert lines[3] == f"{RUN}: damaged: 3 problems more"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"spec": {}, "provenance": {}}\n{"end": true, "records": 0}\n'])
def test_a_file_of_another_content_is_damage_and_no_crash(credit, checkout, content):
    for path in map(Path, (RUN, CHOICE)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert credit("verify")[::2] == (1, "")
    assert credit("verify")[1][-1] == summary(damaged=2)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("choice", {"train.optimizer.lr": 0.3}, "is not the point with the lowest score"),
        ("scores", [], "scores 0 points"),
    ],
)
def test_a_choice_must_follow_from_its_scores(credit, searched, key, value, message):
    content = json.loads(Path(CHOICE).read_text())
    content = {name: given for name, given in content.items() if name != "sha256"}
    Path(CHOICE).write_text(json.dumps(sealed(content | {key: value})))
    assert message in credit("verify", CHOICE)[1][0]


def test_results_that_nothing_asks_for_are_noted_and_no_fault(credit, checkout):
    path = put(checkout.workflow(seeds=20), "results/runs/toy/fit/near/fa/shard9.jsonl")
    line = f"{path}: unknown: nothing asks for this result"
    assert credit("verify")[:2] == (0, [line, summary(unknown=1)])
    assert credit("verify", "--config", "seeds=20")[:2] == (0, [summary(good=1)])


def test_unverified_data_is_noted(credit, tmp_path, checkout):
    body = {**FIT, "task": {"name": "images"}, "datasets": {"near": {"data": "cifar10"}}, "quick": {}}
    checkout.write("toy/fit", body)
    allowed = {"allow_unverified": {"cifar10": "ab" * 32}}
    put(checkout.workflow(data=allowed), RUN)
    entry = f"data={{allow_unverified: {{cifar10: {'ab' * 32}}}}}"
    assert credit("verify", "--config", entry)[:2] == (0, [summary(good=1, unverified=1)])
    assert credit("verify")[0] == 1


# ---- cite


def test_the_bibtex_of_a_run_goes_to_standard_output(credit):
    code, lines, err = credit("cite", RUN)
    assert (code, err) == (0, "")
    keys = [line.partition("{")[2].rstrip(",") for line in lines if line.startswith("@")]
    assert keys == ["lillicrap2016", "molder2021", "paszke2019", "harris2020", "lam2015", "credit"]


def test_a_prepared_data_set_whose_labels_were_changed_is_damaged(checkout, credit):
    x, y = np.zeros((6, 1, 2, 2), np.uint8), np.arange(6, dtype=np.uint8)
    path = checkout.root / "results/data/toy.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    prepared(path, {"train_x": x, "train_y": y, "test_x": x, "test_y": y})
    assert credit("verify")[0] == 0
    with np.load(path) as archive:
        changed = {**archive, "train_y": (y + 1) % 6}
    np.savez(path, **changed)
    code, lines, _ = credit("verify")
    assert code == 1
    (line,) = (line for line in lines if line.startswith("results/data/toy.npz"))
    assert "damaged: damaged" not in line
    assert "train_y: its content was changed after it was prepared" in line


def test_a_run_that_saw_other_arrays_than_those_that_are_there_is_stale(tmp_path, credit_of):
    images = {
        **FIT,
        "task": {"name": "images", "validation": 2, "batch_size": 2},
        "datasets": {"near": {"data": "digits"}},
    }
    images |= {"net": {**FIT["net"], "loss": "softmax_cross_entropy"}}
    checkout = Checkout(tmp_path, {"toy/fit": images})
    path, run = tmp_path / "results/data/digits.npz", "results/runs/toy/fit/near/bp/shard0.jsonl"
    path.parent.mkdir(parents=True)
    x, y = np.zeros((6, 1, 2, 2), np.uint8), np.arange(6, dtype=np.uint8)
    prepared(path, {"train_x": x, "train_y": y, "test_x": x, "test_y": y}, "digits")
    header, found = result(checkout.workflow(), run)
    write_result(tmp_path / run, {**header, "provenance": {**header["provenance"], "data": state_of(path)}}, found)
    assert credit_of(checkout)("verify")[0] == 0
    prepared(path, {"train_x": x, "train_y": y[::-1].copy(), "test_x": x, "test_y": y}, "digits")
    code, lines, _ = credit_of(checkout)("verify")
    assert code == 1
    assert f"{run}: stale: data: other arrays than those of results/data/digits.npz" in lines


def test_data_that_lies_elsewhere_is_verified_with_everything(tmp_path_factory, checkout, credit):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put_all(checkout.workflow())
    x, y = np.zeros((6, 1, 2, 2), np.uint8), np.arange(6, dtype=np.uint8)
    prepared(elsewhere / "toy.npz", {"train_x": x, "train_y": y, "test_x": x, "test_y": y})
    (elsewhere / "raw/toy").mkdir(parents=True)
    (elsewhere / "raw/toy/original.npz").write_bytes(b"not ours")
    given = ("--config", f"data={{folder: {elsewhere}}}")
    assert credit("verify", *given)[0] == 0
    (elsewhere / "toy.npz").rename(elsewhere / "other.npz")
    code, lines, _ = credit("verify", *given)
    assert code == 1
    assert f"{elsewhere}/other.npz: damaged: it holds the data set toy" in lines
