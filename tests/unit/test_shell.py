"""Shell lines of the rules: which spaces mean nothing."""

from __future__ import annotations

import pytest

from credit.dag.shell import plain

LINE = "credit_script train {params.spec:q} {input:q} --device {resources.device} > {log:q} 2>&1"


@pytest.mark.parametrize(
    "written",
    [
        LINE,
        f"  {LINE}\n",
        LINE.replace(" ", "   "),
        LINE.replace(" > ", " >"),
        LINE.replace(" --", " \\\n  --"),
        f"\n\n    {LINE}\t\n    ",
    ],
)
def test_spaces_between_words_mean_nothing(written):
    assert plain(written) == LINE


@pytest.mark.parametrize(
    "written",
    [
        LINE.replace("train", "search"),
        LINE.replace("{params.spec:q} {input:q}", "{input:q} {params.spec:q}"),
        LINE.replace("{input:q} --device", "{input:q}--device"),
        LINE.replace("2>&1", "2> &1"),
        LINE.replace(" > ", " >> "),
        LINE.replace(" > ", "\n> "),
    ],
)
def test_another_command_stays_another_one(written):
    assert plain(written) != LINE


@pytest.mark.parametrize("written", ["echo 'a  b'", 'echo "a  b"', "echo 'a\n\n  b' c"])
def test_spaces_within_quotes_stay(written):
    assert plain(written) == written
