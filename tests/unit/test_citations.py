"""`credit cite`: who is cited for what, and that all of it exists and is BibTeX."""

from __future__ import annotations

import re

import pytest
import yaml
from small_checkout import FIT, Checkout

from credit.config.files import overlay, read_yaml
from credit.config.parts import METHODS
from credit.dag import citations
from credit.dag.commands import configuration
from credit.dag.targets import Workflow
from credit.data import catalog
from credit.errors import ConfigError
from credit.optim import config as optimizers
from tests.conftest import REPOSITORY

RUN = "results/runs/toy/fit/near/fa/shard0.jsonl"
REQUIRED = {
    "article": {"author", "title", "journal", "year"}, "inproceedings": {"author", "title", "booktitle", "year"},
    "techreport": {"author", "title", "institution", "year"}, "misc": {"author", "title", "year"},
    "software": {"author", "title", "version"},
}  # fmt: skip


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    return Workflow(configuration([], [], REPOSITORY), REPOSITORY)


def parse(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """{key: (type, fields)} of BibTeX, by its grammar: @type{key, name = {balanced value}, ...}."""
    found = {}
    text = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    while text := text.strip():
        head = re.match(r"@(\w+)\{([\w.:-]+),", text)
        assert head, f"no entry begins here: {text[:60]}"
        text, fields = text[head.end() :].lstrip(), {}
        while not text.startswith("}"):
            name = re.match(r"(\w+)\s*=\s*\{", text)
            assert name, f"{head[2]}: no field begins here: {text[:60]}"
            depth, end = 1, name.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            assert name[1] not in fields, f"{head[2]}: {name[1]} twice"
            fields[name[1]] = text[name.end() : end - 1]
            text = text[end:].lstrip().removeprefix(",").lstrip()
        assert head[2] not in found, f"{head[2]} twice"
        found[head[2]] = (head[1], fields)
        text = text[1:]
    return found


def test_every_learning_rule_data_set_optimiser_and_paper_has_keys_and_every_key_an_entry(workflow):
    declared = citations.declared()  # raises for a key without an entry
    assert set(declared["methods"]) == set(METHODS.names())
    assert all(declared["methods"].values())
    assert set(declared["datasets"]) == set(catalog.load())
    assert set(declared["optimizers"]) == set(optimizers.KINDS)
    assert set(declared["papers"]) >= set(workflow.papers) - {"cross"}
    used = {key for names in declared.values() for keys in names.values() for key in keys}
    assert used == set(citations.read_entries()), "an entry that nothing is cited for"


def test_every_entry_is_bibtex_with_what_its_type_needs():
    entries = parse(citations.REFERENCES.read_text(encoding="utf-8"))
    assert set(entries) == set(citations.read_entries())
    for key, (kind, fields) in entries.items():
        assert fields.keys() >= REQUIRED[kind], key
        assert re.search(r"\d{4}$", key)[0] == fields["year"], f"{key} is of {fields['year']}"
        assert all(value.strip() and value.isascii() for value in fields.values()), key
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1000/x")), key


def test_the_papers_are_those_of_the_citation_file():
    entries, declared = parse(citations.REFERENCES.read_text(encoding="utf-8")), citations.declared()["papers"]
    stated = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))["references"]
    found = {entries[key][1]["title"].lower(): entries[key][1] for keys in declared.values() for key in keys}
    assert found.keys() == {paper["title"].lower() for paper in stated}
    for paper in stated:
        fields = found[paper["title"].lower()]
        assert fields["year"] == str(paper["year"])
        assert len(fields["author"].split(" and ")) == len(paper["authors"])
        assert fields.get("doi") == paper.get("doi")
        for other in paper.get("identifiers", []):
            assert other["value"] == f"arXiv:{fields['eprint']}"


def test_only_what_a_target_uses_is_cited(workflow):
    figure = parse(citations.bibliography(workflow, "results/figures/fig1.pdf"))
    rules = {
        "rumelhart1986",
        "lillicrap2016",
        "nokland2016",
        "frenkel2021",
        "meulemans2021",
    }  # shallow: a baseline of DFC
    training = {"molder2021", "paszke2019", "harris2020", "lam2015", "kingma2015", "torchvision2016"}
    after = {"mckinney2010", "virtanen2020"}
    assert set(figure) == rules | {"lecun1998", "xiao2017"} | training | after | {"hunter2007", "credit"}
    table = parse(citations.bibliography(workflow, "results/tables/cross/table1.csv"))
    assert set(figure) - set(table) == {"hunter2007"}
    run = parse(citations.bibliography(workflow, "results/runs/cross/images/mnist/drtp/shard0.jsonl"))
    assert set(run) == {"frenkel2021", "lecun1998", "credit"} | training
    assert "xiao2017" not in parse(citations.bibliography(workflow, "dfc/student_teacher"))


def test_all_is_everything_that_is_declared_for_what_there_is(workflow):
    cited = citations.cited(workflow, "all")
    declared = citations.declared()
    for paper in set(workflow.papers) - {"cross"}:
        assert set(declared["papers"][paper]) <= cited.keys()
    assert cited["lecun1998"] == {"datasets": ["mnist"]}
    assert cited["rumelhart1986"]["methods"] == ["bp", "di_bp"]
    assert "alpaydin1998" not in cited, "a data set of the quick scale"
    quick = Workflow(configuration([REPOSITORY / "config" / "quick.yaml"], [], REPOSITORY), REPOSITORY)
    assert {"alpaydin1998", "pedregosa2011"} <= citations.cited(quick, "all").keys()


def test_a_reference_of_a_probe_is_cited_too(workflow):
    assert citations.cited(workflow, "results/runs/dfc/alignment/mnist/dfa/shard0.jsonl")["rumelhart1986"] == {
        "methods": ["bp"]
    }


def test_the_rule_that_trained_the_weights_from_which_a_run_starts_is_cited_too(tmp_path):
    pre = {key: value for key, value in FIT.items() if key not in ("figures", "tables")}
    start = {"start": {"experiment": "toy/pre", "method": "bp"}}
    after = overlay(FIT, {"methods": {"fa": start}})
    found = Checkout(tmp_path, {"toy/pre": {**pre, "keep": ["weights"]}, "toy/fit": after}).workflow()
    methods = {k: uses["methods"] for k, uses in citations.cited(found, RUN).items() if "methods" in uses}
    assert methods == {"lillicrap2016": ["fa"], "rumelhart1986": ["bp"]}


def test_a_rule_for_which_nothing_is_declared_is_named(workflow, monkeypatch):
    declared = citations.declared()
    without = {**declared, "methods": {k: v for k, v in declared["methods"].items() if k != "drtp"}}
    monkeypatch.setattr(citations, "declared", lambda: without)
    text = citations.bibliography(workflow, "results/runs/cross/images/mnist/drtp/shard0.jsonl")
    assert text.endswith("% citations.yaml names nothing for drtp")
    assert "frenkel2021" not in parse(text)


def test_no_job_depends_on_what_is_cited(workflow):
    entry = catalog.load()["mnist"]
    assert "cite" not in entry.spec(urls=True)
    spec = workflow.train_spec("cross/images", "mnist", "fa", 0)
    assert "lillicrap2016" not in str(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@misc{a2000,\n  title = {x},\n", "a2000: a brace is not closed"),
        ("@misc{a2000,\n  title = {x,\n}\n\n@misc{b2000,\n  title = {y},\n}\n", "a2000: a brace is not closed"),
        ("@misc{a2000,\n}\n@misc{a2000,\n}\n", "a2000 appears twice"),
    ],
)
def test_a_broken_file_of_references_is_refused(tmp_path, text, message):
    path = tmp_path / "references.bib"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        citations.read_entries(path)


def test_a_key_without_an_entry_is_refused_with_the_nearest(tmp_path):
    path = tmp_path / "citations.yaml"
    content = read_yaml(citations.CITATIONS)
    content["methods"]["fa"] = ["lillicrap2061"]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"methods.fa: key = 'lillicrap2061' \(did you mean 'lillicrap2016'\?\)"):
        citations.declared(path)
