"""Shell lines of the rules: which spaces mean nothing. Texts for people: no wildcards in them."""

from __future__ import annotations

import shlex

import pytest
from snakemake.io import get_wildcard_names

from credit.dag.shell import plain, settings_of, shown

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


@pytest.mark.parametrize("text", ["angle of $W_{l}$", "{{l}}", "{ method }", "{", "plain"])
def test_a_text_for_people_has_no_wildcards_and_looks_the_same(text):
    assert get_wildcard_names(shown(text)) == set()
    assert shown(text).replace("\u2060", "") == text


@pytest.mark.parametrize(
    ("call", "settings"),
    [
        ("--cores 2 -- all", ""),
        ("--cores 2 --config seeds=2 'data={mirror: /m}' -n -- all", " --config seeds=2 'data={mirror: /m}'"),
        ("-C seeds=2 --cores 2 --configfile a.yaml 'b c.yaml' --", " -C seeds=2 --configfile a.yaml 'b c.yaml'"),
        ("all --configfiles=a.yaml", " --configfiles=a.yaml"),
    ],
)
def test_the_settings_of_a_call_are_those_of_a_question(call, settings):
    assert settings_of(shlex.split(call)) == settings
