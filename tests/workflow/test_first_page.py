"""The first page for newcomers: every command on it is typed, in a fresh checkout, and ends as written."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.conftest import REPOSITORY
from tests.unit.test_docs import as_shown
from tests.workflow.checkout import Checkout

HERE = ("make env", ". .venv/bin/activate")  # the environment of the tests is one already


@pytest.mark.slow
def test_the_commands_of_the_first_page_end_as_written(template: Checkout, tmp_path):
    checkout = template.copy(tmp_path / "first")
    page = (REPOSITORY / "docs/start.md").read_text("utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    made = []
    for language, block in blocks:
        if language == "python":
            done = checkout.call("python", "-c", block)
            assert done.status == 0, done.text
            assert re.search(r"bp +1 +0.00 +0.00\n +2 +0.40 +1.60", done.text), done.text  # far past its target
        elif language == "console":
            for command, _, shown in (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)[1:]):
                done = checkout.credit(*shlex.split(command)[1:])
                assert done.status == 0 and as_shown(shown, done.text), f"{command}\n{done.text}"
        else:
            for line in filter(lambda line: line not in HERE, block.splitlines()):
                done = checkout.snakemake(*shlex.split(line)[1:])
                assert done.status == 0, done.text
                made.append(done.text)
    assert len(made) == 2 and "Nothing to be done" in made[1]
