"""What the last jobs read is checked when the workflow is: published numbers, curves, captions, the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_checkout import FIT, REPOSITORY, Checkout

from credit.analysis.values import PUBLISHED
from credit.config.files import overlay
from credit.data import catalog
from credit.errors import ConfigError

HEAD = ",".join(PUBLISHED)
ROW = "toy/table1,near,bp,test_loss,mean,1.5,0.1,,,5,100,,printed,Table 1"
TABLE = {"tables": {"table1": {"options": {"metric": "test_loss"}}}}


def published(root: Path, *lines: str) -> Checkout:
    checkout = Checkout(root, {"toy/fit": overlay(FIT, TABLE)})
    path = root / "config" / "published" / "toy.csv"
    path.parent.mkdir()
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return checkout


REFUSED = {
    "columns": ((HEAD.replace("mean,", "average,"), ROW), r"line 1: must hold the columns artefact,dataset,"),
    "empty": (("",), r"line 1: must hold the columns"),
    "fields": ((HEAD, ROW, ROW + ",more"), r"line 3: holds 15 fields; must hold 14"),
    "number": ((HEAD, ROW.replace("1.5", "1,5".replace(",", ";"))), r"line 2: mean = '1;5'; must be a number or empty"),
    "no source": ((HEAD, ROW.removesuffix("Table 1")), r"line 2: source is empty"),
    "anchor": ((HEAD, ROW.replace("printed", "print")), r"line 2: anchor = 'print' \(did you mean 'printed'\?\)"),
    "kind": ((HEAD, ROW.replace("loss,mean", "loss,means")), r"line 2: kind = 'means' \(did you mean 'mean'\?\)"),
    "no kind": ((HEAD, ROW.replace("loss,mean", "loss,")), r"line 2: kind = ''; must be one of: apart, bound, exact, "),
    "stand-in": ((HEAD, ROW.replace("100,,", "100,bpp,")), r"line 2: stand_in = 'bpp' \(did you mean 'bp'\?\)"),
    "no anchor": ((HEAD, ROW.replace("printed", "none")), r"line 2: anchor = 'none'; must be what the number is"),
    "no number": ((HEAD, ROW.replace("mean,1.5,0.1", ",,")), r"line 2: anchor = 'printed'; must be 'none', there is"),
    "twice": ((HEAD, ROW, "", ROW), r"line 4: toy/table1 near bp test_loss stands in line 2; keep one"),
    "table": ((HEAD, ROW.replace("table1", "tabel1")), r"line 2: artefact = 'toy/tabel1' \(did you mean 'toy/table1'"),
    "data set": ((HEAD, ROW.replace("near", "neer")), r"line 2: dataset = 'neer' \(did you mean 'near'\?\)"),
    "method": ((HEAD, ROW.replace("bp", "bpp")), r"line 2: method = 'bpp' \(did you mean 'bp'\?\)"),
    "metric": ((HEAD, ROW.replace("test_loss", "test_los")), r"line 2: metric = 'test_los' \(did you mean 'test_loss'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_published_number_is_named_with_its_line(tmp_path, case):
    lines, said = REFUSED[case]
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/config/published/toy\.csv, {said}") as error:
        published(tmp_path, *lines).workflow()
    assert len(str(error.value).splitlines()) == 1


def test_numbers_of_a_table_that_there_is_not_and_of_no_narrowed_run_are_no_mistake(tmp_path):
    others = [ROW.replace("toy/table1", name) for name in ("other/table1", "toy/figure")]
    checkout = published(tmp_path, HEAD, ROW, ROW.replace("bp", "dfa-2"), ROW.replace("near", "mnist"), *others)
    assert checkout.workflow()
    assert checkout.workflow(methods="fa", datasets="far")
    assert checkout.workflow(scale="quick")


def test_an_accuracy_stands_for_the_error_of_a_table(tmp_path):
    row = ROW.replace("test_loss", "test_accuracy")
    checkout = published(tmp_path, HEAD, row)
    with pytest.raises(ConfigError, match="metric = 'test_accuracy'"):
        checkout.workflow()
    checkout.change(tables={"table1": {"options": {"values": [{"metric": "test_loss", "name": "test_error"}]}}})
    assert checkout.workflow()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", r"line 1: lacks the columns paper, experiment"),
        ("HEAD\ntoy,fit,near,bp,0,1,1,test_loss,,x,true\n", r"line 2: value = 'x'; must be a number"),
        ("HEAD\ntoy,fit,near,bp,0,1\n", r"line 2: holds 6 fields; must hold 11"),
    ],
)
def test_wrong_published_curves_are_named_with_their_line(tmp_path, text, said):
    checkout = Checkout(tmp_path, {"toy/fit": overlay(FIT, {"figures": {"curves": {"references": ["theirs.csv"]}}})})
    path = tmp_path / "config/published/curves/theirs.csv"
    path.parent.mkdir(parents=True)
    head = "paper,experiment,dataset,method,seed,epoch,step,metric,layer,value,data_verified"
    path.write_text(text.replace("HEAD", head), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{path}, {said}"):
        checkout.workflow()


def test_a_caption_that_is_no_template_is_named_with_its_line(tmp_path):
    checkout = Checkout(tmp_path, {"toy/fit": overlay(FIT, {"figures": {"curves": {"caption": "mine.rst"}}})})
    (tmp_path / "workflow").unlink()
    (tmp_path / "workflow" / "report").mkdir(parents=True)
    (tmp_path / "workflow" / "schemas").symlink_to(REPOSITORY / "workflow" / "schemas")
    (tmp_path / "workflow" / "scripts").symlink_to(REPOSITORY / "workflow" / "scripts")
    for name in ("figure.rst", "table.rst"):
        (tmp_path / "workflow" / "report" / name).symlink_to(REPOSITORY / "workflow" / "report" / name)
    path = tmp_path / "workflow" / "report" / "mine.rst"
    path.write_text("Weights\n:math:`W^{{l}`\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{path}, line 2: {{{{ and }}}} must stand in pairs on a line"):
        checkout.workflow()
    path.write_text("Weights\n:math:`W^{l}`\n", encoding="utf-8")
    assert checkout.workflow()


# ---- the catalogue


CATALOGUE = {
    "a class that no format reads": (
        "torchvision: FashionMNIST", "torchvision: CIFAR10",
        r"fashion_mnist\.torchvision of format idx = 'CIFAR10'; must be one of: FashionMNIST, KMNIST, MNIST",
    ),
    "a class that nobody serves": (
        "torchvision: FashionMNIST", "torchvision: SVHN", r"fashion_mnist\.torchvision: 'SVHN'"
    ),
    "a format that there is not": ("format: digits", "format: digit", r"digits\.format = 'digit' \(did you mean"),
    "a format of another source": (
        "format: imagenet", "format: digits", r"imagenet32\.source = user; the format digits is read where"
    ),
    "a misspelt key": ("classes: 1000", "clases: 1000", r"imagenet32: unknown key 'clases' \(did you mean 'classes'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CATALOGUE)
def test_a_data_set_that_no_code_serves_is_named_with_its_line(tmp_path, case):
    old, new, said = CATALOGUE[case]
    text = catalog.CATALOG.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "datasets.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"^{path}, line (\d+): {said}") as error:
        catalog.load(path)
    line = int(str(error.value).partition(", line ")[2].partition(":")[0])
    assert text.splitlines()[line - 1].startswith(said.replace("\\", "").partition(".")[0].partition(":")[0])
