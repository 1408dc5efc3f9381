"""One data folder for several processes: all succeed, none takes away what another has made."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import data_originals as originals
import pytest

from credit.data.fetch import fetch
from credit.data.load import load
from credit.data.prepare import prepare
from credit.provenance import files
from credit.provenance.files import alone, whole_file

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
AT_ONCE = 4


def together(*arguments: object) -> list[str]:
    """Start a script several times at once; what each printed. All must succeed."""
    command = [sys.executable, *map(str, arguments)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(AT_ONCE)
    ]
    printed = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * AT_ONCE, printed
    return printed


def test_several_processes_fetch_and_prepare_one_data_set_at_once(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    spec, shared = json.dumps({"dataset": entry.spec(urls=True)}), tmp_path / "shared"
    manifest = shared / "raw" / "mnist.json"
    together(SCRIPTS / "fetch.py", spec, manifest, "--mirror", tmp_path / "mirror")
    together(SCRIPTS / "prepare.py", spec, manifest, shared / "mnist.npz")
    assert load(shared / "mnist.npz").verified
    assert sorted(p.name for p in shared.iterdir()) == ["mnist.npz", "raw"]
    assert sorted(p.name for p in (shared / "raw").iterdir()) == ["mnist", "mnist.json"]


def test_one_at_a_time_makes_a_file_and_the_lock_is_gone_afterwards(tmp_path):
    inside, most = [], []

    def work():
        with alone(tmp_path / "data", "works") as locked:
            assert locked
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_waits_says_for_what(tmp_path, capsys):
    holder = alone(tmp_path / "data", "works")
    holder.__enter__()
    waiting = threading.Thread(target=lambda: alone(tmp_path / "data", "fetches mnist into X").__enter__(), daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    holder.__exit__(None, None, None)
    waiting.join(10)
    assert not waiting.is_alive()
    assert "waiting for another job, which fetches mnist into X" in capsys.readouterr().err


def test_a_temporary_file_that_another_took_for_a_leftover_is_replaced_by_a_new_one(tmp_path, monkeypatch):
    lock, removed = fcntl.flock, []

    def taken(handle, operation):
        if not removed:
            removed.extend(tmp_path.glob(".out.*.part"))
            removed[0].unlink()
        return lock(handle, operation)

    monkeypatch.setattr(files.fcntl, "flock", taken)
    with whole_file(tmp_path / "out") as part:
        part.write_text("whole")
    assert removed and (tmp_path / "out").read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_without_locks_nothing_of_another_process_is_removed(tmp_path, monkeypatch):
    def none(handle, operation):
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(files.fcntl, "flock", none)
    entry = originals.mnist(tmp_path / "mirror")
    others = tmp_path / ".mnist.npz.other.unpacked"
    others.mkdir()
    manifest = fetch(entry, tmp_path / "raw" / "mnist", str(tmp_path / "mirror"))
    prepare(entry, tmp_path / "raw" / "mnist", manifest, tmp_path / "mnist.npz")
    assert others.is_dir() and load(tmp_path / "mnist.npz").verified


@pytest.mark.parametrize("output", ["raw/{{dataset}}.json", "{{dataset}}.npz"])
def test_snakemake_removes_no_data_before_a_job_and_none_when_it_fails(output):
    rules = (SCRIPTS.parent / "rules" / "data.smk").read_text(encoding="utf-8")
    assert f'update(f"{{DATA}}/{output}")' in rules
