"""What torchvision knows of the original files: where they are, and their checksums."""

from __future__ import annotations

from credit.data._torchvision import reader
from credit.data.entry import Entry


def addresses(entry: Entry, filename: str) -> tuple[list[str], str]:
    """Where torchvision gets an original file, first choice first, and the md5 that it expects."""
    source = reader(entry)
    if hasattr(source, "resources"):
        return [mirror + filename for mirror in source.mirrors], dict(source.resources)[filename]
    return [source.url], source.tgz_md5


def members(entry: Entry) -> dict[str, str]:
    """{path in the archive of a CIFAR data set: md5} of the files that torchvision reads."""
    source = reader(entry)
    listed = [*source.train_list, *source.test_list, [source.meta["filename"], source.meta["md5"]]]
    return {f"{source.base_folder}/{name}": md5 for name, md5 in listed}
