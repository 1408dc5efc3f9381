"""What the shell completes, asked as the shell asks; and the installed command `credit`."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import subprocess
import sys
import tomllib

import pytest
from small_checkout import Checkout

from credit.__main__ import main
from credit.dag import completion
from tests.conftest import REPOSITORY

SEPARATOR = "\v"  # between what argcomplete offers
COMMANDS = {"plan", "watch", "list", "show", "diff", "why", "verify", "export", "import", "clean", "cite"}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkout = Checkout(tmp_path)
    for name in ("results/runs/toy", "results/figures/toy"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("kept.tar.xz", "notes.txt", "results/runs/toy/shard0.jsonl", "results/runs/toy/shard0.jsonl.ckpt"):
        (tmp_path / name).write_text("")
    for name in ("datasets.yaml", "references.bib", "citations.yaml", "sets", "published"):  # a folder that is whole
        (tmp_path / "config" / name).symlink_to(REPOSITORY / "config" / name)
    return checkout


@pytest.fixture
def offered(checkout):
    """What a key press offers behind a line, by a process as the shell starts it."""

    def ask(line: str) -> set[str]:
        out = checkout.root / "offered"
        asking = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(out), "_ARGCOMPLETE_IFS": SEPARATOR}
        asking |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
        code = "import sys; from credit.__main__ import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asking, cwd=checkout.root, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return {name.strip() for name in out.read_text().split(SEPARATOR) if name.strip()}

    return ask


def test_commands_are_offered_and_their_options(offered):
    assert offered("credit ") >= COMMANDS
    assert offered("credit p") == {"plan"}
    assert {"--config", "--configfile"} <= offered("credit plan --c")


def test_targets_are_offered_step_by_step_whether_they_exist_or_not(offered):
    assert offered("credit plan to") == {"toy", "toy/"}
    assert offered("credit plan toy/") == {"toy/fit"}
    assert {"results/figures/", "results/tables/"} <= offered("credit cite results/")
    assert offered("credit export results/figures/t") == {"results/figures/toy/"}
    assert {f"results/figures/toy/curves.{end}" for end in ("pdf", "png", "csv", "html")} == offered(
        "credit plan results/figures/toy/c"
    )
    tables = ("table1.csv", "table1.md", "table1.html", "fit.csv")
    assert {f"results/quick/tables/toy/{name}" for name in tables} == offered("credit plan results/quick/tables/toy/")


def test_result_files_and_folders_are_offered_and_no_others(offered):
    for command in ("show", "why", "verify", "diff kept.tar.xz"):
        assert offered(f"credit {command} results/runs/toy/s") == {"results/runs/toy/shard0.jsonl"}
    assert offered("credit show ke") == {"kept.tar.xz"}
    assert offered("credit show no") == set()
    assert offered("credit import ") >= {"kept.tar.xz", "config/"}


def test_settings_files_of_the_configuration_and_names_are_offered(offered):
    assert offered("credit plan --config see") == offered("credit plan all -C see") == {"seeds=", "seeds_per_job="}
    assert offered("credit plan --configfile config/q") == {"config/quick.yaml"}
    assert offered("credit list t") == {"tables", "toy/fit"}


def test_our_own_figures_lie_directly_in_their_folder(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert {"results/figures/fig1.pdf", "results/figures/dfc/"} <= set(completion.targets("results/figures/"))
    assert "results/tables/cross/" in completion.targets("results/tables/")
    assert "results/tables/cross/table1.csv" in completion.targets("results/tables/cross/t")
    assert "results/mine/figures/dfc/fig3.pdf" in completion.targets("results/mine/figures/dfc/")


def test_a_damaged_configuration_offers_less_and_says_nothing(checkout):
    (checkout.root / "config/experiments/toy/fit.yaml").write_text("figures: [")
    assert completion.targets("results/figures/toy/") == []
    shutil.rmtree(checkout.root / "config/experiments")
    assert completion.targets("to") == []


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_shell_gets_a_script(shell, capsys):
    assert main(["--print-completion", shell]) == 0
    out = capsys.readouterr().out
    assert "credit" in out
    assert "argcomplete" in out.lower()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_with_the_script(checkout):
    """The script of `--print-completion`, in a bash that has a command `credit`."""
    command = checkout.root / "bin" / "credit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m credit "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    asked = (
        'eval "$(credit --print-completion bash)"; COMP_LINE="credit plan results/figures/toy/cu"; '
        "COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_WORDS=(credit plan results/figures/toy/cu); COMP_CWORD=2; "
        '$(complete -p credit | sed "s/.*-F //; s/ .*//") credit; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], env=environment, cwd=checkout.root, capture_output=True, text=True
    )
    files = [f"results/figures/toy/curves.{end}" for end in ("csv", "html", "pdf", "png")]
    assert sorted(done.stdout.split()) == files, done.stderr


def test_a_key_press_loads_neither_torch_nor_the_workflow(checkout):
    code = (
        "import sys; from credit.__main__ import parser; from credit.dag import completion; parser(); "
        "found = completion.targets('results/figures/toy/'); assert found, found; "
        "assert not {'torch', 'numpy', 'pandas', 'credit.dag.targets', 'credit.dag.commands'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ---- the installed command


def entry_point():
    """What `credit` in an environment calls: as pyproject.toml declares it."""
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]["credit"]
    module, _, name = declared.partition(":")
    return getattr(importlib.import_module(module), name)


def test_the_installed_command_does_what_the_module_does(checkout, monkeypatch, capsys):
    monkeypatch.setattr("gc.disable", lambda: None)
    monkeypatch.setattr("atexit.register", lambda function: None)
    monkeypatch.setattr(sys, "argv", ["credit", "show", "nowhere.jsonl"])
    assert entry_point()() == 2
    by_entry = capsys.readouterr()
    words = [sys.executable, "-m", "credit", "show", "nowhere.jsonl"]
    done = subprocess.run(words, cwd=checkout.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, by_entry.out, by_entry.err)
    assert done.stderr == "error: nowhere.jsonl: no such file\n"


def test_it_calls_itself_credit_however_it_is_called(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/somewhere/__main__.py"])
    with pytest.raises(SystemExit):
        main(["show"])
    assert capsys.readouterr().err.startswith("usage: credit show ")


def test_in_another_checkout_it_says_how_its_own_code_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text("")
    for arguments in (["plan"], ["show", "x.jsonl"], ["diff", "x.jsonl", "y.jsonl"], ["list"]):
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert message.startswith(
            f"error: {tmp_path} is another checkout than {REPOSITORY}, whose code this is; run it "
        )
        assert "PYTHONPATH=src python -m credit" in message


@pytest.mark.parametrize("asked", [["--print-completion", "bash"], ["--help"], ["list"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_error(asked):
    unread, out = os.pipe()
    os.close(unread)
    command = [sys.executable, "-m", "credit", *asked]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    os.close(out)
    assert (done.returncode, done.stderr) == (0, "")
