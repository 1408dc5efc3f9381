"""What planning remembers of source files: always of this content, never in the way, and never trusted by a job."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from credit.errors import ConfigError, ProvenanceError
from credit.provenance import snapshot as provenance
from credit.provenance.remembered import KEPT, Remembered
from credit.provenance.sources import PACKAGE, Sources, planning_sources

FILES = {"__init__.py": "", "a.py": "from toy import b\nfrom .b import two\n\none = 1\n", "b.py": "two = 2\n"}


@pytest.fixture
def toy(tmp_path):
    """Folder of a small package, of which nothing is remembered yet."""
    for name, text in FILES.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path / "toy"


def found(root: Path) -> dict[str, str]:
    """What a process that plans finds now; it remembers it for the next."""
    sources = planning_sources(root)
    digests = sources.digests(f"{root.name}.a")
    sources.remembered.save()
    return digests


def fresh(root: Path) -> dict[str, str]:
    return Sources(root).digests(f"{root.name}.a")


def kept(root: Path) -> Path:
    return planning_sources(root).remembered.path


@pytest.fixture
def parsed(monkeypatch):
    """Names of what is parsed from now on."""
    contents, parse = [], ast.parse
    monkeypatch.setattr(ast, "parse", lambda content, *rest: contents.append(content) or parse(content, *rest))
    return contents


def test_the_second_process_parses_nothing_and_finds_the_same(toy, parsed):
    first = planning_sources(toy)
    digests, imports = first.digests("toy.a"), first.imports("toy.a")
    first.remembered.save()
    assert len(parsed) == 3
    second = planning_sources(toy)
    assert (second.digests("toy.a"), second.imports("toy.a")) == (digests, imports)
    assert second.source(toy / "a.py") == first.source(toy / "a.py")
    assert len(parsed) == 3


def test_what_is_remembered_of_this_package_is_what_is_found_afresh():
    planned, read = planning_sources(), Sources()
    for path in PACKAGE.rglob("*.py"):
        assert planned.source(path) == read.source(path)


def test_an_edit_is_seen_though_size_and_date_stay(toy):
    before, date = found(toy), (toy / "b.py").stat().st_mtime_ns
    (toy / "b.py").write_text("two = 3\n")
    os.utime(toy / "b.py", ns=(date, date))
    after = found(toy)
    assert {name for name in after if after[name] != before[name]} == {"toy.b"}
    assert after == fresh(toy)
    (toy / "b.py").write_text(FILES["b.py"])  # and back
    assert found(toy) == before


def test_a_new_import_is_seen(toy):
    found(toy)
    (toy / "c.py").write_text("three = 3\n")
    (toy / "b.py").write_text("from toy import c\n")
    assert {*found(toy)} == {"toy", "toy.a", "toy.b", "toy.c"}


def test_a_syntax_error_is_told_every_time(toy):
    (toy / "b.py").write_text("two = \n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"b.py, line 1: syntax error"):
            found(toy)


def damage(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    head, _, body = whole.partition(b"\n")
    digit = body.index(b'["') + 2  # the first one of a digest
    flipped = body[:digit] + (b"0" if body[digit : digit + 1] != b"0" else b"1") + body[digit + 1 :]
    other = {
        "empty": b"", "cut off": whole[: len(whole) // 2], "no text": os.urandom(500), "another head": b"\xff\n" + body,
        "another digest": head + b"\n" + flipped, "no JSON": b"{\n" + whole, "the head alone": head,
    }  # fmt: skip
    path.write_bytes(other[kind])


@pytest.mark.parametrize(
    "kind", ["empty", "cut off", "no text", "another head", "another digest", "no JSON", "the head alone"]
)
def test_a_damaged_file_is_an_empty_one_and_is_mended(toy, parsed, kind):
    digests, whole = found(toy), kept(toy).read_bytes()
    damage(kept(toy), kind)
    parsed.clear()
    assert found(toy) == digests
    assert len(parsed) == 3
    assert kept(toy).read_bytes() == whole


def poison(root: Path, maker: str | None = None) -> None:
    """A whole file whose digests are wrong."""
    head, _, body = kept(root).read_bytes().partition(b"\n")
    entries = {key: ["0" * 16, entry[1]] for key, entry in json.loads(body).items()}
    body = json.dumps(entries).encode()
    maker = maker or head.decode().partition(" ")[0]
    kept(root).write_bytes(f"{maker} {hashlib.sha256(body).hexdigest()}\n".encode() + body)


def test_what_other_code_or_another_python_found_counts_for_nothing(toy):
    digests = found(toy)
    poison(toy, maker="0" * 64)
    assert found(toy) == digests


def test_a_job_reads_for_itself_and_refuses_digests_that_are_not_its_own(toy):
    found(toy)
    poison(toy)
    planned = planning_sources(toy).code("toy.a")
    taken = provenance.snapshot("toy.a", package_root=toy)
    assert taken.modules == fresh(toy)
    with pytest.raises(ProvenanceError, match="not what this job was planned with"):
        taken.check(expected_code=planned)


@pytest.mark.parametrize("failing", ["mkdir", "write_bytes", "replace"])
def test_a_folder_that_cannot_be_written_keeps_nothing(toy, monkeypatch, failing):
    def refuse(*arguments, **more):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as context:
        context.setattr(Path, failing, refuse)
        assert found(toy) == fresh(toy)
    assert not kept(toy).exists()
    assert not [p for p in toy.rglob("*") if p.is_file() and p.suffix != ".py"]


def test_a_file_in_place_of_the_folder_is_left_alone(toy):
    (toy / "__pycache__").write_text("mine")
    assert found(toy) == fresh(toy)
    assert (toy / "__pycache__").read_text() == "mine"


def test_processes_that_write_at_once_leave_a_whole_file(toy):
    code = (
        "import sys; from pathlib import Path; from credit.provenance.remembered import Remembered\n"
        "for i in range(200):\n"
        "    entries = Remembered(Path(sys.argv[1]), b'test')\n"
        "    assert all(entries[f'{p}-{j}'] in (None, [p] * 50) for p in 'ab' for j in range(i))\n"
        "    entries[f'{sys.argv[2]}-{i}'] = [sys.argv[2]] * 50\n"
        "    entries.save()\n"
    )
    path = toy / "__pycache__" / "entries.json"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    assert any(Remembered(path, b"test")[f"{name}-199"] for name in "ab")
    assert [p.name for p in path.parent.iterdir()] == ["entries.json"]


def test_the_file_does_not_grow_without_end(tmp_path):
    path = tmp_path / "entries.json"
    for part in range(3):
        entries = Remembered(path, b"test")
        for i in range(KEPT // 2):
            entries[f"{part}-{i}"] = part
        entries.save()
    entries = Remembered(path, b"test")
    assert [entries[f"{part}-0"] for part in range(3)] == [None, 1, 2]
