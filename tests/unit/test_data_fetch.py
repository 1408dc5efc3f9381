"""Fetching: checksums decide, every failure names file, expected and found, and no half file is ever left."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import data_originals as originals
import pytest
import yaml

from credit.config.formats import FORMATS
from credit.data import _published, _torchvision, catalog, content
from credit.data._sources import Patience
from credit.data.fetch import fetch
from credit.data.prepare import prepare
from credit.data.supplied import stamp
from credit.errors import DataError

SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "fetch.py"
NOWHERE = "http://127.0.0.1:9/"  # the discard port: nothing listens
AT_ONCE = Patience(tries=2, wait_s=0.0)
IMAGES = "train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Official addresses that cannot be reached, and no mirror in the environment."""
    torchvision = _torchvision.datasets()
    for source in (torchvision.MNIST, torchvision.FashionMNIST):
        monkeypatch.setattr(source, "mirrors", [NOWHERE])
    for source in (torchvision.CIFAR10, torchvision.CIFAR100):
        monkeypatch.setattr(source, "url", NOWHERE + "archive.tar.gz")
    monkeypatch.delenv("CREDIT_DATA_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "*")


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def refused(entry, folder, mirror, match):
    """Fetching fails with this message, on one line, and leaves nothing but files that are the published ones."""
    with pytest.raises(DataError, match=match) as e:
        fetch(entry, folder, mirror, patience=AT_ONCE)
    assert "\n" not in str(e.value)
    for body in (p.read_bytes() for p in folder.rglob("*") if p.is_file()):
        sums = {hashlib.sha256(body).hexdigest(), hashlib.md5(body).hexdigest()}
        assert any(sums & {f.sha256, f.md5} for f in entry.files)
    return str(e.value)


def damage(path: Path) -> str:
    """Flip the last byte of what a gzip file holds; its new sha256."""
    body = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(body[:-1] + bytes([body[-1] ^ 1])))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves files; the first `failures` requests get status 503, and every file ends `cut` bytes early."""

    failures, cut = 0, 0

    def do_GET(self):
        if type(self).failures:
            type(self).failures -= 1
            self.send_error(503)
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - self.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(tmp_path):
    """serve(failures, cut) -> URL of the folder `mirror`."""
    servers = []

    def start(failures: int = 0, cut: int = 0) -> str:
        handler = partial(type("Server", (Server,), {"failures": failures, "cut": cut}), directory=tmp_path / "mirror")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_mirror_folder_gives_the_layout_that_torchvision_expects(tmp_path):
    entry = originals.mnist(tmp_path / "mirror", "fashion_mnist")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    assert files_below(tmp_path / "raw") == sorted(f"FashionMNIST/raw/{f.name}" for f in entry.files)
    assert manifest["verified"] and manifest["raw_hash"] == entry.raw_hash()
    assert [f["sha256"] for f in manifest["files"]] == [f.sha256 for f in entry.files]
    assert manifest["files"][0]["bytes"] == (tmp_path / "raw" / manifest["files"][0]["path"]).stat().st_size


def test_the_manifest_does_not_depend_on_where_the_files_came_from(tmp_path, serve, monkeypatch):
    entry = originals.mnist(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "a", str(tmp_path / "mirror"))
    assert fetch(entry, tmp_path / "b", (tmp_path / "mirror").as_uri()) == manifest
    assert fetch(entry, tmp_path / "c", serve() + "/") == manifest
    monkeypatch.setenv("CREDIT_DATA_MIRROR", str(tmp_path / "mirror"))
    assert fetch(entry, tmp_path / "d") == manifest


def test_without_a_mirror_torchvision_downloads_the_files(tmp_path, serve, monkeypatch):
    entry = originals.mnist(tmp_path / "mirror")
    source = _torchvision.datasets().MNIST
    md5 = {f.name: hashlib.md5((tmp_path / "mirror/mnist" / f.name).read_bytes()).hexdigest() for f in entry.files}
    monkeypatch.setattr(source, "resources", list(md5.items()))
    monkeypatch.setattr(source, "mirrors", [NOWHERE, serve() + "/mnist/"])
    assert fetch(entry, tmp_path / "raw", patience=AT_ONCE)["verified"]
    assert len(files_below(tmp_path / "raw")) == 4


def test_a_download_with_a_wrong_checksum_is_refused(tmp_path, serve, monkeypatch):
    entry = originals.mnist(tmp_path / "mirror")
    found = damage(tmp_path / "mirror/mnist" / IMAGES)
    monkeypatch.setattr(_torchvision.datasets().MNIST, "mirrors", [serve() + "/mnist/"])
    refused(
        entry,
        tmp_path / "raw",
        None,
        f"official download from http.*: expected .*{entry.files[0].sha256}; found .*{found}",
    )


def test_files_that_are_there_are_verified_and_not_fetched_again(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    shutil.rmtree(tmp_path / "mirror")
    assert fetch(entry, tmp_path / "raw", patience=AT_ONCE) == manifest


def test_a_damaged_file_that_is_there_is_replaced(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    damage(tmp_path / "raw/MNIST/raw" / IMAGES)
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror")) == manifest


def test_a_leftover_of_a_killed_job_is_written_over(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    leftover = tmp_path / "raw/MNIST/raw" / f".{IMAGES}.gone.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half" * 100_000)
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))["verified"]
    assert not leftover.exists()


def test_a_wrong_checksum_names_file_expected_found_and_the_way_out(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    found = damage(tmp_path / "mirror/mnist" / IMAGES)
    message = refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), f"mnist/{IMAGES}: expected")
    for part in (f"{entry.files[0].bytes} bytes, sha256 {entry.files[0].sha256}", f"sha256 {found}"):
        assert part in message
    assert f"set allow_unverified: {{mnist: {{{IMAGES}: {found}}}}} below data in the config" in message


def test_one_message_names_all_files_that_differ_and_a_permission_for_them_is_enough(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    differing = [f.name for f in entry.files if "images" in f.name]
    found = {name: damage(tmp_path / "mirror/mnist" / name) for name in differing}
    message = refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), "if you trust these copies")
    assert message.count("expected") == 2 and all(name in message for name in differing)
    written = message.partition("allow_unverified: ")[2].partition(" below")[0]
    allowed = yaml.safe_load(written)["mnist"]
    assert allowed == found
    manifest = fetch(replace(entry, allowed=allowed), tmp_path / "raw", str(tmp_path / "mirror"))
    assert [f["verified"] for f in manifest["files"]] == [f.name not in found for f in entry.files]
    assert not manifest["verified"]


def test_permission_names_those_that_are_allowed_already(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    names = [entry.files[0].name, entry.files[3].name]
    found = {name: damage(tmp_path / "mirror/mnist" / name) for name in names}
    half = replace(entry, allowed={names[0]: found[names[0]]})
    with pytest.raises(DataError) as e:
        fetch(half, tmp_path / "raw", str(tmp_path / "mirror"))
    for name in names:
        assert f"{name}: {found[name]}" in str(e.value).partition("set allow_unverified")[2]


def repack(folder: Path, form: str, name: str) -> None:
    """Give a file another form, under the name that goes with it."""
    path = folder / name
    body = path.read_bytes()
    path.unlink()
    dotted = name.replace("-idx", ".idx")
    plain = gzip.decompress(body)
    other = {
        "packed again": (name, gzip.compress(plain, 1, mtime=7)),
        "unpacked": (name.removesuffix(".gz"), plain),
        "unpacked under the name of the archive": (name, plain),
        "with a dot": (dotted, body),
        "unpacked, with a dot": (dotted.removesuffix(".gz"), plain),
    }
    (folder / other[form][0]).write_bytes(other[form][1])


FORMS = (
    "packed again", "unpacked", "unpacked under the name of the archive", "with a dot", "unpacked, with a dot"
)  # fmt: skip


@pytest.mark.parametrize("place", ["mirror", "server", "folder"])
@pytest.mark.parametrize("form", FORMS)
def test_published_files_are_known_by_what_they_hold(tmp_path, serve, form, place):
    entry = originals.mnist(tmp_path / "mirror")
    as_published = fetch(entry, tmp_path / "published", str(tmp_path / "mirror"))
    prepare(entry, tmp_path / "published", as_published, tmp_path / "published.npz")
    for file in entry.files:
        repack(tmp_path / "mirror/mnist", form, file.name)
    if place == "folder":
        shutil.copytree(tmp_path / "mirror/mnist", tmp_path / "raw/MNIST/raw")
    mirror = {"mirror": str(tmp_path / "mirror"), "server": serve(), "folder": None}[place]
    manifest = fetch(entry, tmp_path / "raw", mirror, patience=AT_ONCE)
    assert manifest["verified"] and manifest["raw_hash"] == entry.raw_hash()
    prepare(entry, tmp_path / "raw", manifest, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "published.npz").read_bytes()


def test_a_cifar_archive_that_was_packed_again_is_known_by_its_files(tmp_path, monkeypatch):
    entry = replace(originals.cifar(tmp_path / "mirror"), allowed={})
    path = tmp_path / "mirror/cifar10/cifar-10-python.tar.gz"
    with tarfile.open(path) as archive:
        held = {m.name: hashlib.md5(archive.extractfile(m).read()).hexdigest() for m in archive}
    monkeypatch.setattr(_published, "members", lambda entry: held)
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))["verified"]
    path.write_bytes(gzip.decompress(path.read_bytes()))
    assert fetch(entry, tmp_path / "other", str(tmp_path / "mirror"))["verified"]
    monkeypatch.setattr(_published, "members", lambda entry: {**held, "cifar-10-batches-py/test_batch": "0"})
    refused(entry, tmp_path / "third", str(tmp_path / "mirror"), "if you trust this copy")


PAGES = (
    b"<!DOCTYPE html>\n<html><title>Log in</title></html>", b"\xef\xbb\xbf  \n<HTML>", b'{"error": "no token"}', b"",
    gzip.compress(b"<!DOCTYPE html>\n<html><title>Log in</title></html>", mtime=0),
    gzip.compress(b'{"error": "no token"}', mtime=0),
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=range(len(PAGES)))
def test_a_page_in_place_of_a_file_is_named_and_the_next_source_is_tried(tmp_path, serve, monkeypatch, page):
    entry = originals.mnist(tmp_path / "mirror")
    good = tmp_path / "mirror/mnist" / IMAGES
    (tmp_path / "login/mnist").mkdir(parents=True)
    for file in entry.files:
        (tmp_path / "login/mnist" / file.name).write_bytes(page)
    message = refused(entry, tmp_path / "raw", str(tmp_path / "login"), f"login/mnist/{IMAGES}: ")
    assert "allow_unverified" not in message
    assert ("an empty file" if not page else "a web page or a message of a server") in message
    md5 = {f.name: hashlib.md5((good.parent / f.name).read_bytes()).hexdigest() for f in entry.files}
    source = _torchvision.datasets().MNIST
    monkeypatch.setattr(source, "resources", list(md5.items()))
    monkeypatch.setattr(source, "mirrors", [serve() + "/mnist/"])
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "login"), patience=AT_ONCE)["verified"]


def tar(mode: str, **members: bytes) -> bytes:
    """A tar archive of these files. mode: of `tarfile`, which says how it is packed."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return raw.getvalue()


PAGE, HEADER = PAGES[0], b"\0\0\x08\3" + bytes([0, 0, 0, 20, 0, 0, 0, 4, 0, 0, 0, 4])
NO_IDX = {  # what an idx file of 20 x 4 x 4 bytes is not
    "page packed twice": (gzip.compress(gzip.compress(PAGE)), "packed twice"),
    "page in a tar": (tar("w", index=PAGE), "no idx file of unsigned bytes: it begins with 'index'"),
    "page in a tar.gz": (tar("w:gz", index=PAGE), "no idx file of unsigned bytes: it begins with 'index'"),
    "blanks and a page": (gzip.compress(b"\n" * 2000 + PAGE), "no idx file of unsigned bytes: it begins with blanks"),
    "text": (gzip.compress(b"404: Not Found"), "no idx file of unsigned bytes: it begins with '404: Not Found'"),
    "bare text": (b"404: Not Found", "cannot be unpacked, 14 bytes.*it begins with '404: Not Found'"),
    "page before": (gzip.compress(b"  " + PAGE) + gzip.compress(HEADER + bytes(320)), "no idx file .*<!DOCTYPE html>"),
    "text before": (gzip.compress(b"x") + gzip.compress(HEADER + bytes(320)), "no idx file of unsigned bytes"),
    "page behind": (gzip.compress(HEADER + bytes(320)) + gzip.compress(PAGE), "336 bytes expected, found more"),
    "too short": (gzip.compress(HEADER + bytes(319)), "336 bytes expected, found 335 bytes"),
    "zeros": (bytes(4542), "it begins with the bytes 00 00 00 00 00 00 00 00"),
    "packed zeros": (gzip.compress(bytes(4542)), "it begins with the bytes 00 00 00 00 00 00 00 00"),
    "half a header": (gzip.compress(HEADER[:9]), "no idx file of unsigned bytes: it begins with the bytes 00 00 08 03"),
    "no dimensions": (gzip.compress(b"\0\0\x08\0" + bytes(20)), "no idx file of unsigned bytes"),
    "other numbers": (gzip.compress(b"\0\0\x08\x0b" + bytes(20)), "no idx file of unsigned bytes"),
    "labels": (originals.idx(originals.labels(20, 10)), "this is train-labels-idx1-ubyte.gz, another file of mnist"),
    "other labels": (originals.idx(originals.labels(20, 9)), "an idx file of 20 bytes, where 20 x 4 x 4 are expected"),
    "other images": (
        originals.idx(originals.images(5, 19, (1, 4, 4))[:, 0]),
        "an idx file of 19 x 4 x 4 bytes, where 20 x 4 x 4 are expected",
    ),
}


@pytest.mark.parametrize("case", NO_IDX)
def test_what_is_no_idx_file_is_named_and_no_permission_makes_it_one(tmp_path, case):
    entry = originals.mnist(tmp_path / "mirror")
    body, reason = NO_IDX[case]
    (tmp_path / "mirror/mnist" / IMAGES).write_bytes(body)
    allowed = replace(entry, allowed={IMAGES: hashlib.sha256(body).hexdigest()})
    for accepting in (entry, allowed):
        message = refused(accepting, tmp_path / "raw", str(tmp_path / "mirror"), f"mirror/mnist/{IMAGES}: .*{reason}")
        assert "allow_unverified" not in message
    (tmp_path / "raw/MNIST/raw").mkdir(parents=True, exist_ok=True)
    (tmp_path / "raw/MNIST/raw" / IMAGES).write_bytes(body)
    originals.mnist(tmp_path / "mirror")
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))["verified"]


NOISE = originals.images(0, 999, (1, 32, 32)).tobytes()  # 1 MB


def broken(body: bytes) -> bytes:
    """With zeros in the middle."""
    half = len(body) // 2
    return body[:half] + bytes(99) + body[half + 99 :]


NO_CIFAR = {
    "page in a tar": (tar("w", index=PAGE), "found index"),
    "page in a tar.gz": (tar("w:gz", index=PAGE), "found index"),
    "empty archive": (tar("w:gz"), "found no file"),
    "zeros": (bytes(20480), "found no file"),
    "packed zeros": (gzip.compress(bytes(20480)), "found no file"),
    "text": (b"404: Not Found", "cannot be unpacked, 14 bytes of 170000000, .*; it begins with '404: Not Found'"),
    "packed text": (gzip.compress(b"404: Not Found"), "cannot be unpacked"),
    "page packed twice": (gzip.compress(gzip.compress(PAGE)), "cannot be unpacked"),
    "damaged bz2": (broken(tar("w:bz2", index=NOISE)), "cannot be unpacked"),
    "damaged xz": (broken(tar("w:xz", index=NOISE)), "cannot be unpacked"),
    "cut off at its end": (tar("w:gz", index=NOISE)[:-6], "cannot be unpacked"),
    "damaged gz": (broken(tar("w:gz", index=NOISE)), "cannot be unpacked"),
}


@pytest.mark.parametrize("case", NO_CIFAR)
def test_what_is_no_archive_of_cifar_is_named_and_no_permission_makes_it_one(tmp_path, case):
    body, reason = NO_CIFAR[case]
    entry = originals.cifar(tmp_path / "mirror")
    path = tmp_path / "mirror/cifar10/cifar-10-python.tar.gz"
    path.write_bytes(body)
    for allowed in ({}, {path.name: hashlib.sha256(body).hexdigest()}):
        message = refused(
            replace(entry, allowed=allowed), tmp_path / "raw", str(tmp_path / "mirror"), f"{path}: .*({reason})"
        )
        assert "allow_unverified" not in message


def test_what_is_no_pickle_of_the_user_is_named_and_the_next_source_is_tried(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    shutil.copytree(tmp_path / "mirror", tmp_path / "own")
    for body in (b"404: Not Found", b"\n" * 2000 + PAGE, gzip.compress(b"\x80\x02}."), bytes(99)):
        (tmp_path / "own/imagenet32/val_data").write_bytes(body)
        with pytest.raises(DataError, match="own/imagenet32/val_data: no pickled batch of images: it begins with"):
            fetch(entry, tmp_path / "raw", user_files=str(tmp_path / "own"))
        fetch(entry, tmp_path / "good", str(tmp_path / "mirror"), str(tmp_path / "own"))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for batch in ({}, {"data": [1], "labels": [2]}):
            (tmp_path / "own/imagenet32/val_data").write_bytes(pickle.dumps(batch, protocol))
            fetch(entry, tmp_path / "good", str(tmp_path / "mirror"), str(tmp_path / "own"))


def test_every_format_that_is_downloaded_says_what_could_be_one_of_its_files():
    downloaded = {name for name, served in catalog.SERVED.items() if served.source == "torchvision"}
    assert downloaded <= set(content.SIGNATURES.names()) <= set(FORMATS.names())


def test_files_with_each_others_names_are_told_by_their_own_packed_again_or_not(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    folder, (one, other) = tmp_path / "mirror/mnist", (entry.files[1], entry.files[3])
    bodies = {f.name: (folder / f.name).read_bytes() for f in (one, other)}
    for again in (lambda body: body, lambda body: gzip.compress(gzip.decompress(body), 1, mtime=7)):
        (folder / one.name).write_bytes(again(bodies[other.name]))
        (folder / other.name).write_bytes(again(bodies[one.name]))
        message = refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), f"{one.name}: this is {other.name}, ")
        assert "allow_unverified" not in message


def test_a_published_file_that_was_packed_again_needs_no_permission(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    repack(tmp_path / "mirror/mnist", "packed again", IMAGES)
    sha256 = hashlib.sha256((tmp_path / "mirror/mnist" / IMAGES).read_bytes()).hexdigest()
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))["verified"]
    for key in (IMAGES, "*"):
        with pytest.raises(DataError, match=f"{sha256}.* is the published data set; remove mnist from"):
            fetch(replace(entry, allowed={key: sha256}), tmp_path / key[:1], str(tmp_path / "mirror"))


def test_an_official_place_that_shows_a_page_is_named_with_its_address(tmp_path, serve, monkeypatch):
    entry = originals.mnist(tmp_path / "mirror")
    for file in entry.files:
        (tmp_path / "mirror/mnist" / file.name).write_text("<html>quota exceeded</html>")
    address = serve() + "/mnist/"
    monkeypatch.setattr(_torchvision.datasets().MNIST, "mirrors", [address, NOWHERE])
    message = refused(entry, tmp_path / "raw", None, f"from {address}{IMAGES}: a web page")
    assert "quota exceeded" in message and "allow_unverified" not in message


def test_a_page_in_place_of_a_file_of_the_user_is_refused(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    (tmp_path / "mirror/imagenet32/val_data").write_text("<html>Please log in</html>")
    with pytest.raises(DataError, match="imagenet32/val_data: a web page"):
        fetch(entry, tmp_path / "raw", user_files=str(tmp_path / "mirror"))


def test_a_truncated_file_is_refused_with_both_sizes_and_no_permission_for_it(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    path = tmp_path / "mirror/mnist" / IMAGES
    path.write_bytes(path.read_bytes()[:100])
    message = refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), "100 bytes of .*may be truncated")
    assert f"100 bytes of {entry.files[0].bytes}" in message
    assert "allow_unverified" not in message


def test_a_file_of_the_wrong_size_is_refused_even_if_its_md5_is_right(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    md5 = [hashlib.md5((tmp_path / "mirror/mnist" / f.name).read_bytes()).hexdigest() for f in entry.files]
    by_md5 = [replace(f, sha256=None, md5=m, unpacked=None) for f, m in zip(entry.files, md5)]
    assert fetch(replace(entry, files=tuple(by_md5)), tmp_path / "good", str(tmp_path / "mirror"))["verified"]
    by_md5[0] = replace(by_md5[0], bytes=7)
    refused(
        replace(entry, files=tuple(by_md5)),
        tmp_path / "raw",
        str(tmp_path / "mirror"),
        "expected 7 bytes, md5",
    )


def test_without_network_and_mirror_the_message_says_what_was_tried_and_what_to_do(tmp_path):
    message = refused(
        catalog.dataset("cifar10"), tmp_path / "raw", None, "cifar10: cifar-10-python.tar.gz cannot be had"
    )
    for part in (
        f"{tmp_path / 'raw/cifar-10-python.tar.gz'}: absent",
        f"{NOWHERE}archive.tar.gz: [Errno 111] Connection refused (tried 2 times)",
        "Expected 170498071 bytes, sha256 6d958be0",
        "holds cifar10/cifar-10-python.tar.gz as data.mirror in the config or in CREDIT_DATA_MIRROR",
    ):
        assert part in message


def test_a_mirror_that_does_not_exist_or_cannot_be_one_is_named(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    refused(
        entry,
        tmp_path / "raw",
        "/no/such/folder",
        "/no/such/folder: no such folder; what data.mirror or data.user_files names must hold",
    )
    refused(entry, tmp_path / "raw", "ftp://host/data", "mirror ftp://host/data: unknown kind of address")


def test_a_mirror_without_the_file_is_passed_over(tmp_path, serve):
    (tmp_path / "mirror").mkdir()
    entry = catalog.dataset("mnist")
    refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), f"mirror/mnist/{IMAGES}: no such file; official")
    refused(entry, tmp_path / "raw", serve(), f"mnist/{IMAGES}: HTTP status 404 Not Found; official")


def test_network_failures_are_tried_again_and_then_reported(tmp_path, serve):
    entry = originals.mnist(tmp_path / "mirror")
    assert fetch(entry, tmp_path / "good", serve(failures=1), patience=AT_ONCE)["verified"]
    refused(entry, tmp_path / "raw", serve(failures=99), r"HTTP status 503 .*\(tried 2 times\)")


def test_a_connection_that_closes_early_leaves_nothing(tmp_path, serve):
    entry = originals.mnist(tmp_path / "mirror")
    size = entry.files[0].bytes
    refused(entry, tmp_path / "raw", serve(cut=10), f"closed after {size - 10} of {size} bytes .tried 2 times")


def test_an_allowed_copy_is_taken_and_marked_as_not_verified(tmp_path):
    entry = originals.cifar(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))
    assert files_below(tmp_path / "raw") == ["cifar-10-python.tar.gz"]
    assert not manifest["verified"] and not manifest["files"][0]["verified"]
    (allowed,) = entry.allowed.values()
    assert manifest["raw_hash"] == allowed == manifest["files"][0]["sha256"]


def test_permission_for_one_copy_does_not_cover_another(tmp_path):
    entry = originals.cifar(tmp_path / "mirror")
    damage(tmp_path / "mirror/cifar10/cifar-10-python.tar.gz")
    refused(
        entry,
        tmp_path / "raw",
        str(tmp_path / "mirror"),
        f"or sha256 {next(iter(entry.allowed.values()))}, which allow_unverified names",
    )


def test_permission_that_is_not_needed_is_an_error_since_results_would_be_labelled_wrongly(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    for allowed in ({"*": "ab" * 32}, {IMAGES: "ab" * 32}):
        with pytest.raises(DataError, match=r"is the published data set; remove mnist from allow_unverified$"):
            fetch(replace(entry, allowed=allowed), tmp_path / "raw", str(tmp_path / "mirror"))
    other = entry.files[1].name
    found = damage(tmp_path / "mirror/mnist" / other)
    entry = replace(entry, allowed={IMAGES: "ab" * 32, other: found})
    with pytest.raises(DataError, match=f"from allow_unverified, or of its files {IMAGES}$"):
        fetch(entry, tmp_path / "new", str(tmp_path / "mirror"))


def test_files_of_the_user_are_recorded_with_their_checksums(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "mirror" / "imagenet32")
    assert not manifest["verified"]
    body = (tmp_path / "mirror/imagenet32/val_data").read_bytes()
    assert manifest["files"][-1]["sha256"] == hashlib.sha256(body).hexdigest()
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror")) == manifest
    assert fetch(entry, tmp_path / "raw2", user_files=str(tmp_path / "mirror")) == manifest


def test_a_replaced_file_of_the_user_wins_over_the_copy_of_the_old_one(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    old = fetch(entry, tmp_path / "raw", user_files=str(tmp_path / "mirror"))
    replaced = originals.imagenet32(tmp_path / "mirror", lambda batch: {**batch, "labels": [7] * 10})
    new = fetch(replaced, tmp_path / "raw", user_files=str(tmp_path / "mirror"))
    assert [a == b for a, b in zip(old["files"], new["files"])] == [True, False, True]
    shutil.rmtree(tmp_path / "mirror/imagenet32")
    assert fetch(entry, tmp_path / "raw", user_files=str(tmp_path / "mirror")) == new
    assert fetch(entry, tmp_path / "raw") == new


def test_a_page_that_replaced_a_file_of_the_user_is_refused_and_the_old_copy_stays(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    old = fetch(entry, tmp_path / "raw", user_files=str(tmp_path / "mirror"))
    (tmp_path / "mirror/imagenet32/val_data").write_text("<html>Please log in</html>")
    with pytest.raises(DataError, match="imagenet32/val_data: a web page"):
        fetch(entry, tmp_path / "raw", user_files=str(tmp_path / "mirror"))
    assert fetch(entry, tmp_path / "raw") == old


def test_the_stamp_of_supplied_files_sees_what_was_replaced_and_not_what_was_fetched(tmp_path):
    entry, raw, own = originals.imagenet32(tmp_path / "mirror"), tmp_path / "raw", str(tmp_path / "mirror")
    before = stamp(entry, raw, own, None)
    assert list(before) == [f.name for f in entry.files]
    fetch(entry, raw, user_files=own)
    assert stamp(entry, raw, own, None) == before == stamp(entry, raw, None, own)
    there = stamp(entry, raw, None, None)
    fetch(entry, raw)
    assert stamp(entry, raw, None, None) == there
    shutil.move(own, tmp_path / "moved")
    assert stamp(entry, raw, str(tmp_path / "moved"), None) == before
    path = tmp_path / "moved/imagenet32/val_data"
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - 10**15))  # an older file put in its place
    changed = stamp(entry, raw, str(tmp_path / "moved"), None)
    assert [name for name in before if changed[name] != before[name]] == ["val_data"]
    assert stamp(entry, tmp_path / "none", None, "https://host") == {}
    assert stamp(originals.mnist(tmp_path / "mirror"), raw, own, own) == {}


def test_missing_files_of_the_user_are_asked_for(tmp_path):
    message = refused(catalog.dataset("imagenet32"), tmp_path / "raw", None, "train_data_batch_1 cannot be had")
    assert "needs registration: get it from https://image-net.org" in message
    assert f"put its 11 files (train_data_batch_1 ... val_data) into {tmp_path / 'raw'}" in message


def test_embedded_data_needs_no_files(tmp_path):
    manifest = fetch(catalog.dataset("digits"), tmp_path / "raw")
    assert manifest["files"] == [] and manifest["verified"]
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("step", ["copy", "fsync"])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, monkeypatch, step):
    entry = originals.mnist(tmp_path / "mirror")

    def full(*args):
        if step == "copy":
            args[1].write(b"the first bytes")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"copy": (shutil, "copyfileobj"), "fsync": (os, "fsync")}[step], full)
    message = refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), "No space left on device")
    assert IMAGES in message and f"{entry.files[0].bytes} bytes needed" in message


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "MNIST").write_text("a file where a folder belongs")
    with pytest.raises(DataError, match=rf"{IMAGES}: cannot be written: .*Not a directory"):
        fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))


def run(spec: dict, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, json.dumps(spec), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_script_writes_the_manifest_beside_the_folder(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    spec = {"dataset": entry.spec(urls=True), "code": "what else is in the spec does not matter"}
    done = run(spec, tmp_path / "raw/mnist.json", "--mirror", tmp_path / "mirror")
    assert (done.returncode, done.stderr) == (0, "mnist: 4 files, verified\n")
    manifest = json.loads((tmp_path / "raw/mnist.json").read_text())
    assert all((tmp_path / "raw/mnist" / f["path"]).is_file() for f in manifest["files"])


def test_the_script_prints_one_line_for_an_error_and_writes_no_manifest(tmp_path):
    done = run(catalog.fetch_spec("imagenet32"), tmp_path / "raw/imagenet32.json")
    assert done.returncode == 1
    assert done.stderr.startswith("error: imagenet32: train_data_batch_1 cannot be had")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "raw/imagenet32.json").exists()
