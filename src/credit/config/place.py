"""Where the configuration is: the `config/` of the work folder, where it has one, else that of the checkout.

One of the two counts for everything that stands in it; nothing is taken from the other.
"""

from __future__ import annotations

from pathlib import Path

from credit.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = "config"
PARTS = ["config.yaml", "datasets.yaml", "experiments", "sets", "published", "references.bib", "citations.yaml"]


def config_folder(checkout: Path = CHECKOUT, module: bool = False) -> Path:
    """The folder that counts for a call in the present folder, relative to that where it is there.

    module: another workflow uses this one; a `config` there that holds nothing but a config.yaml is its own. Raises
    ConfigError for a copy that is not whole.
    """
    own, other = Path(NAME), checkout / NAME
    if not own.is_dir():
        return other
    found = [part for part in PARTS if (own / part).exists()]
    if module and found in ([], PARTS[:1]):
        return other
    if missing := [part for part in PARTS if part not in found and (other / part).exists()]:
        raise ConfigError(
            f"{own.absolute()}: lacks {', '.join(missing)}; a folder `config` in the work folder counts as a whole: "
            f"copy all of {other} into it, or remove it"
        )
    return own
