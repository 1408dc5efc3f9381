"""Result files appear whole or not at all, and a file that is not whole is recognised."""

from __future__ import annotations

import hashlib
import json
import math
import os

import pytest

from credit.errors import DataError
from credit.provenance.files import whole_file, write_text
from credit.provenance.records import check_seal, read_result, sealed, write_result

HEADER = {"spec": {"version": 1}, "provenance": {}}
RECORDS = [
    {"seed": 0, "epoch": e, "step": e, "metric": "test_loss", "layer": "", "value": v}
    for e, v in enumerate([0.1, None])
]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "deep" / "shard0.jsonl"
    assert write_result(path, HEADER, RECORDS) == 2
    return path


def test_what_is_written_is_read_back(written):
    assert read_result(written) == (HEADER, RECORDS)


def test_a_result_without_records_is_whole(tmp_path):
    write_result(tmp_path / "x.jsonl", HEADER, [])
    assert read_result(tmp_path / "x.jsonl") == (HEADER, [])


def test_numbers_survive_to_the_last_bit(tmp_path):
    values = [0.1 + 0.2, 1e-308, -0.0, 12345678.9]
    write_result(tmp_path / "x.jsonl", HEADER, [{"value": v} for v in values])
    assert [r["value"].hex() for r in read_result(tmp_path / "x.jsonl")[1]] == [v.hex() for v in values]


@pytest.mark.parametrize("keep", range(1, 4))
def test_a_file_that_lost_its_last_lines_is_recognised(written, keep):
    lines = written.read_text().splitlines(keepends=True)
    written.write_text("".join(lines[:keep]))
    with pytest.raises(DataError, match=r"shard0.jsonl: cut off after \d lines; delete it"):
        read_result(written)


def test_a_file_cut_within_a_line_is_recognised(written):
    written.write_bytes(written.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"shard0.jsonl: not a result file"):
        read_result(written)


def test_a_file_that_lost_a_line_in_the_middle_is_recognised(written):
    lines = written.read_text().splitlines(keepends=True)
    written.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(DataError, match="cut off"):
        read_result(written)


@pytest.mark.parametrize("content", [b"", b"{}\n{}\n", b"1\n2\n", b"[]\n", b"\xff\xfe", b"text\n"])
def test_a_file_of_another_kind_is_recognised(tmp_path, content):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"x.jsonl: .*(delete it)"):
        read_result(tmp_path / "x.jsonl")


# ---- whole_file


def test_a_failure_leaves_nothing_behind(tmp_path):
    def records():
        yield RECORDS[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_result(tmp_path / "x.jsonl", HEADER, records())
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file_as_it_was(written):
    before = written.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_result(written, HEADER, [{"value": math.nan}])
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_can_be_read_by_whom_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "x.txt", "é")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "x.txt").read_bytes() == "é".encode()


def test_the_file_ends_with_a_line_that_counts_the_records(written):
    header, *body, end = written.read_text().splitlines(keepends=True)
    assert json.loads(header) == sealed(HEADER)
    digest = hashlib.sha256("".join(body).encode()).hexdigest()
    assert json.loads(end) == {"end": True, "records": 2, "sha256": digest}


def test_a_value_that_was_changed_later_is_recognised(written):
    written.write_text(written.read_text().replace("0.1", "0.2"))
    with pytest.raises(DataError, match=r"shard0.jsonl: its content was changed after it was written: sha256"):
        read_result(written)


def test_a_header_that_was_changed_later_is_recognised(written):
    written.write_text(written.read_text().replace('"provenance": {}', '"provenance": {"seconds": 1}'))
    with pytest.raises(DataError, match=r"shard0.jsonl: its content was changed after it was written: sha256"):
        read_result(written)


def test_what_follows_the_header_depends_on_the_records_alone(written, tmp_path):
    write_result(tmp_path / "other.jsonl", {**HEADER, "provenance": {"seconds": 1}}, RECORDS)
    both = [path.read_bytes().splitlines() for path in (written, tmp_path / "other.jsonl")]
    assert both[0][1:] == both[1][1:]
    assert both[0][0] != both[1][0]


def test_a_sealed_text_that_was_changed_later_is_recognised(tmp_path):
    content = sealed({"choice": 0.1})
    check_seal(tmp_path, content)
    check_seal(tmp_path, {"choice": 0.1})  # of before there were seals
    with pytest.raises(DataError, match="was changed"):
        check_seal(tmp_path, content | {"choice": 0.2})


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """The temporary file of one that is still at work stays, that of one that was killed goes."""
    path = tmp_path / "table.csv"
    dead = tmp_path / ".table.csv.dead.part"
    dead.write_text("half")
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.exists()
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
