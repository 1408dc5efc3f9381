"""Copies one original file from a mirror or its official place. Whether it is right, `fetch` decides."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from credit.data import _torchvision
from credit.data.entry import Entry, File
from credit.errors import DataError

TIMEOUT_S = 30  # without one, a firewall that drops packets would hang the job for ever
_NETWORK = (URLError, TimeoutError, ConnectionError, HTTPException, ssl.SSLError)


class Unavailable(Exception):
    """This source does not have the file, or cannot be reached; another may."""


class Absent(Unavailable):
    """This source can be reached, and does not have the file."""


@dataclass(frozen=True)
class Patience:
    """How often a network request is tried, and the seconds before the second try; they double with each."""

    tries: int = 3
    wait_s: float = 2.0

    def call(self, request: Callable[[], None]) -> None:
        """`request()`, again after network failures. Raises Unavailable with the last reason."""
        for attempt in range(self.tries):
            try:
                return request()
            except HTTPError as e:
                e.close()
                reason = f"HTTP status {e.code} {e.reason}"
                if e.code < 500 and e.code != 429:  # the answer will be the same next time
                    raise (Absent if e.code in (403, 404, 410) else Unavailable)(reason) from e
            except _NETWORK as e:
                reason = str(getattr(e, "reason", e)) or type(e).__name__
            if attempt + 1 < self.tries:
                time.sleep(self.wait_s * 2**attempt)
        raise Unavailable(f"{reason} (tried {self.tries} times)")


def from_mirror(mirror: str, entry: Entry, file: File, part: Path, patience: Patience) -> str:
    """Copy a file, under any of its names, from a mirror to `part`; returns where it was. Raises Unavailable."""
    absent = None
    for name in file.names():
        location = in_mirror(mirror, entry, name)
        try:
            copy(location, part, patience)
            return location
        except Absent as e:
            absent = absent or e
    raise absent


def in_mirror(mirror: str, entry: Entry, name: str) -> str:
    """Address or path of a file in a mirror. Raises DataError for a mirror that cannot be one."""
    if re.match(r"https?://", mirror):
        return f"{mirror.rstrip('/')}/{entry.name}/{quote(name)}"
    if mirror.startswith("file://"):
        mirror = urllib.request.url2pathname(urlsplit(mirror).path)
    elif "://" in mirror:
        raise DataError(
            f"mirror {mirror}: unknown kind of address; must be a folder, or begin with http://, https:// or file://"
        )
    folder = Path(mirror)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; what data.mirror or data.user_files names must hold {entry.name}/{name}"
        )
    return str(folder / entry.name / name)


def copy(location: str, part: Path, patience: Patience) -> None:
    """Copy a file, given by path or address, to `part`. Raises Unavailable."""
    if re.match(r"https?://", location):
        return patience.call(lambda: _download(location, part))
    if not Path(location).is_file():
        raise Absent("no such file")
    with Path(location).open("rb") as source, part.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return None


def _download(url: str, part: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, part.open("wb") as out:
        shutil.copyfileobj(response, out, 1 << 20)
        announced, came = response.headers.get("Content-Length"), out.tell()
    if announced is not None and came < int(announced):
        raise ConnectionError(f"connection closed after {came} of {announced} bytes")


def official(url: str, md5: str, part: Path, patience: Patience) -> None:
    """Download a file with torchvision, from one of the places that it knows. Raises Unavailable."""
    download_url = _torchvision.datasets().utils.download_url
    try:
        with _socket_timeout(), warnings.catch_warnings(action="ignore"):
            patience.call(lambda: download_url(url, part.parent, part.name, md5))
    except RuntimeError as e:  # wrong md5; the file stays, and its content decides
        if not part.exists():
            raise Unavailable(str(e)) from e


@contextmanager
def _socket_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
