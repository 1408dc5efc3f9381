"""Paths that a configuration or the environment names: expanded, or refused by the name of their key."""

from __future__ import annotations

import os
import re
from pathlib import Path

from credit.errors import ConfigError

MIRROR_VARIABLE = "CREDIT_DATA_MIRROR"
NOTHING = ("", "null", "None")  # what `--config` makes of null within a mapping
_VARIABLE = re.compile(r"\$(?:\{([^{}]*)\}|(\w*))")


def expanded(text: str | None, key: str) -> str | None:
    """A path or an address with `~`, `~USER`, `$NAME` and `${NAME}` replaced; None for null and for empty text.

    Raises ConfigError, naming `key`, for a variable or a user that does not exist.
    """
    if text is None or text.strip() in NOTHING:
        return None

    def value(found: re.Match) -> str:
        name = found[1] if found[1] is not None else found[2]
        if not os.environ.get(name):
            raise ConfigError(f"{key} = {text!r}: the variable {name or '$'} is not set in this environment, or empty")
        return os.environ[name]

    path = _VARIABLE.sub(value, text.strip())
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        message = f"{key} = {text!r}: there is no such user; write ./{path} for a folder of that name"
        raise ConfigError(message) from error


def folder(text: str | None, key: str) -> str:
    """The path of a folder, as `expanded`, without redundant slashes and dots.

    Raises ConfigError, naming `key`, where no folder is named, and for what Snakemake or a shell would take for
    something else than a name.
    """
    path = expanded(text, key)
    if path is None:
        raise ConfigError(f"{key} = {text!r}; must name a folder")
    path = os.path.normpath(path)
    if path in (os.sep, os.sep * 2):
        raise ConfigError(f"{key} = {text!r}; must be a folder below the root of the file system")
    if strange := sorted({c for c in path if c in "{}*?[]\"'\\" or not c.isprintable()}):
        raise ConfigError(f"{key} = {text!r}; names the folder {path}, which must not hold {' '.join(strange)}")
    if Path(path).exists() and not Path(path).is_dir():
        raise ConfigError(f"{key} = {text!r}; {path} is a file, must be a folder")
    return path


def mirror_of_environment() -> str | None:
    """The mirror that `CREDIT_DATA_MIRROR` names, if any; raises as `expanded`."""
    return expanded(os.environ.get(MIRROR_VARIABLE), MIRROR_VARIABLE)
