"""Fetching: checksums decide, every failure names file, expected and found, and no half file is ever left."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import data_originals as originals
import pytest

from credit.data import _torchvision, catalog
from credit.data._sources import Patience
from credit.data.fetch import fetch
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
    """Fetching fails with this message, on one line, and leaves nothing."""
    with pytest.raises(DataError, match=match) as e:
        fetch(entry, folder, mirror, patience=AT_ONCE)
    assert "\n" not in str(e.value)
    assert not [p for p in folder.rglob("*") if p.is_file()]
    return str(e.value)


def damage(path: Path) -> str:
    """Flip the last byte of a file; its new sha256."""
    body = path.read_bytes()
    path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
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
        f"official download: expected .*{entry.files[0].sha256}; found .*{found}",
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
    assert f"set allow_unverified: {{mnist: {found}}}" in message


def test_a_truncated_file_is_refused_with_both_sizes(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    path = tmp_path / "mirror/mnist" / IMAGES
    path.write_bytes(path.read_bytes()[:100])
    message = refused(entry, tmp_path / "raw", str(tmp_path / "mirror"), "found 100 bytes.*may be truncated")
    assert f"expected {entry.files[0].bytes} bytes" in message


def test_a_file_of_the_wrong_size_is_refused_even_if_its_md5_is_right(tmp_path):
    entry = originals.mnist(tmp_path / "mirror")
    md5 = [hashlib.md5((tmp_path / "mirror/mnist" / f.name).read_bytes()).hexdigest() for f in entry.files]
    by_md5 = [replace(f, sha256=None, md5=m) for f, m in zip(entry.files, md5)]
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
        "/no/such/folder: no such folder; expected a mirror that holds",
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
    assert manifest["raw_hash"] == entry.allowed == manifest["files"][0]["sha256"]


def test_permission_for_one_copy_does_not_cover_another(tmp_path):
    entry = originals.cifar(tmp_path / "mirror")
    damage(tmp_path / "mirror/cifar10/cifar-10-python.tar.gz")
    refused(
        entry,
        tmp_path / "raw",
        str(tmp_path / "mirror"),
        f"or sha256 {entry.allowed}, which allow_unverified names",
    )


def test_permission_that_is_not_needed_is_an_error_since_results_would_be_labelled_wrongly(tmp_path):
    entry = replace(originals.mnist(tmp_path / "mirror"), allowed="ab" * 32)
    with pytest.raises(DataError, match="is the published data set; remove mnist from allow_unverified"):
        fetch(entry, tmp_path / "raw", str(tmp_path / "mirror"))


def test_files_of_the_user_are_recorded_with_their_checksums(tmp_path):
    entry = originals.imagenet32(tmp_path / "mirror")
    manifest = fetch(entry, tmp_path / "mirror" / "imagenet32")
    assert not manifest["verified"]
    body = (tmp_path / "mirror/imagenet32/val_data").read_bytes()
    assert manifest["files"][-1]["sha256"] == hashlib.sha256(body).hexdigest()
    assert fetch(entry, tmp_path / "raw", str(tmp_path / "mirror")) == manifest
    assert fetch(entry, tmp_path / "raw2", user_files=str(tmp_path / "mirror")) == manifest


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
