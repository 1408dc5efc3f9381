"""Archives of results: the same bytes for the same files, and nothing taken from one that is not what it says."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import tarfile

import pytest

from credit.errors import DataError
from credit.provenance.archive import LIST, pack, read_list, unpack

ALLOWED = re.compile(r"runs/[a-z]+\.jsonl")
CONTENT = {"runs/a.jsonl": b"one\n", "runs/b.jsonl": b""}


def listed(files: dict[str, bytes]) -> dict:
    """The list of files."""
    entries = {n: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()}
    return {"format": 1, "files": entries}


def write(path, about: object, members: list[tuple[tarfile.TarInfo, bytes]], list_name: str = LIST):
    """An archive by hand, as no `pack` makes it."""
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    with tarfile.open(path, "w:xz") as tar:
        for member, content in [(tarfile.TarInfo(list_name), text), *members]:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def plain(files: dict[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Members as `write` takes them."""
    return [(tarfile.TarInfo(name), content) for name, content in files.items()]


def link(name: str, kind: bytes = tarfile.SYMTYPE, to: str = "../outside") -> list[tuple[tarfile.TarInfo, bytes]]:
    """A member that is no plain file."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return [(member, b"")]


@pytest.fixture
def packed(tmp_path):
    """An archive of two small files."""
    files = {}
    for name, content in CONTENT.items():
        place = tmp_path / "from" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        files[name] = (place, {"spec": "0"})
    pack(tmp_path / "one.tar.xz", {"target": "all"}, files)
    return tmp_path / "one.tar.xz"


def test_what_is_packed_is_unpacked(packed, tmp_path):
    about = unpack(packed, ALLOWED, tmp_path / "to")
    assert about == read_list(packed, ALLOWED)
    assert about["target"] == "all" and about["files"]["runs/a.jsonl"]["spec"] == "0"
    found = {p.relative_to(tmp_path / "to").as_posix(): p.read_bytes() for p in (tmp_path / "to").rglob("*.jsonl")}
    assert found == CONTENT


def test_the_same_files_give_the_same_bytes(packed, tmp_path):
    later = {n: (tmp_path / "later" / n, {"spec": "0"}) for n in reversed(CONTENT)}
    for name, (place, _) in later.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(CONTENT[name])
        place.chmod(0o600)
    pack(tmp_path / "two.tar.xz", {"target": "all"}, later)
    assert (tmp_path / "two.tar.xz").read_bytes() == packed.read_bytes()


ONE = {"runs/a.jsonl": b"one\n"}
HOSTILE = {
    "a name above": (listed({"../a.jsonl": b""}), plain({"../a.jsonl": b""}), "no name of a result"),
    "an absolute name": (listed({"/tmp/a.jsonl": b""}), plain({"/tmp/a.jsonl": b""}), "no name of a result"),
    "a line break": (listed({"runs/a.jsonl\n": b""}), plain({"runs/a.jsonl\n": b""}), "no name of a result"),
    "a file beside the list": (listed(ONE), plain({"../a.jsonl": b"", **ONE}), "is not what its list says"),
    "a file twice": (listed(ONE), plain(ONE) * 2, "is not what its list says"),
    "a link": (listed({"runs/a.jsonl": b""}), link("runs/a.jsonl"), "is not what its list says"),
    "a hard link": (listed({"runs/a.jsonl": b""}), link("runs/a.jsonl", tarfile.LNKTYPE), "is not what its list says"),
    "a folder": (listed({"runs/a.jsonl": b""}), link("runs/a.jsonl", tarfile.DIRTYPE), "is not what its list says"),
    "a device": (listed({"runs/a.jsonl": b""}), link("runs/a.jsonl", tarfile.CHRTYPE), "is not what its list says"),
    "another size": (listed(ONE), plain({"runs/a.jsonl": b"longer\n"}), "is not what its list says"),
    "other bytes": (listed(ONE), plain({"runs/a.jsonl": b"two\n"}), "has another sha256"),
    "a file less": (listed(CONTENT), plain(ONE), "'runs/b.jsonl' of its list is missing"),
    "no JSON": (b"{", [], "is not JSON"),
    "JSON without an end": (b"[" * 100_000, [], "is not JSON"),
    "a list of a later format": ({"format": 2, "files": {}}, [], "format = 2; this code reads format 1"),
    "JSON of another kind": ([], [], "format = "),
    "no files": ({"format": 1, "files": []}, [], "files must be a mapping"),
    "an entry without its size": ({"format": 1, "files": {"runs/a.jsonl": {}}}, [], "must hold bytes and sha256"),
    "a negative size": (
        {"format": 1, "files": {"runs/a.jsonl": {"bytes": -1, "sha256": "0" * 64}}}, [], "must hold bytes and sha256"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_not_as_the_list_says_is_refused_in_one_line(case, tmp_path):
    about, members, message = HOSTILE[case]
    path = write(tmp_path / "hostile.tar.xz", about, members)
    with pytest.raises(DataError, match=re.escape(message)) as refused:
        unpack(path, ALLOWED, tmp_path / "stage" / "to")
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)
    outside = {p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "stage" / "to")}
    assert outside <= {path, tmp_path / "stage"}


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = write(tmp_path / "other.tar.xz", listed({}), [], list_name="paper.tex")
    with pytest.raises(DataError, match=r"does not begin with contents\.json"):
        read_list(path, ALLOWED)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "changed", "no tar"])
def test_a_damaged_archive_is_refused(packed, tmp_path, damage):
    whole = packed.read_bytes()
    middle = len(whole) // 2
    packed.write_bytes(
        {
            "cut": whole[:-20],
            "text": b"<html>log in</html>",
            "empty": b"",
            "changed": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "no tar": lzma.compress(b"text"),
        }[damage]
    )
    with pytest.raises(DataError, match=r"not an archive of|not JSON|sha256|list says") as refused:
        unpack(packed, ALLOWED, tmp_path / "to")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.tar\.xz: cannot be read: No such file"):
        read_list(tmp_path / "none.tar.xz", ALLOWED)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_list(tmp_path, ALLOWED)
