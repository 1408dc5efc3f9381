"""Tables of the user's own."""

from __future__ import annotations

import numpy as np
import pytest
from own_data import prepared, read

from credit.errors import ConfigError

TABLE = "width,kind,height\n" + "".join(f"{i},{'ab'[i % 2]},{10 * i + 0.5}\n" for i in range(10))


def write(folder, text: str, name: str = "t.csv"):
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def refused(folder, text: str, message: str, **facts):
    path = write(folder, text)
    with pytest.raises(ConfigError, match=message) as error:
        read(folder, **{"format": "csv", "path": path, "label": "kind", **facts})
    assert "\n" not in str(error.value) and "datasets.yaml, line 1: mine" in str(error.value)


def test_a_table_is_classes_and_numbers_in_columns(tmp_path):
    data = prepared(tmp_path, format="csv", path=write(tmp_path, TABLE), label="kind", test_fraction=0.4)
    assert (data.n_classes, data.names, data.scale, data.verified) == (2, ("a", "b"), 1.0, True)
    assert data.train_x.shape == (6, 2, 1, 1) and data.test_x.shape == (4, 2, 1, 1)
    assert data.train_x.dtype == np.float32
    whole = np.concatenate([data.train_x, data.test_x])[:, :, 0, 0]
    labels = np.concatenate([data.train_y, data.test_y])
    assert np.array_equal(whole[:, 1], 10 * whole[:, 0] + 0.5)
    assert np.array_equal(whole[:, 0] % 2, labels) and sorted(whole[:, 0]) == list(range(10))


def test_the_test_part_has_the_same_share_of_every_class_and_depends_on_the_seed_alone(tmp_path):
    text = "x,kind\n" + "".join(f"{i},{'many' if i < 60 else 'few'}\n" for i in range(80))
    path = write(tmp_path, text)

    def tested(**facts):
        return prepared(tmp_path, format="csv", path=path, label="kind", **facts)

    first, again, other = tested(), tested(test_fraction=0.2, test_seed=0), tested(test_seed=1)
    assert np.bincount(first.test_y).tolist() == [4, 12] and np.bincount(first.train_y).tolist() == [16, 48]
    assert np.array_equal(first.test_x, again.test_x) and first.declared != other.declared
    assert not np.array_equal(first.test_x, other.test_x)
    assert not set(first.test_x.ravel()) & set(first.train_x.ravel())


def test_one_more_class_leaves_the_test_samples_of_the_others_alone(tmp_path):
    rows = [f"{i},{'ab'[i % 2]}\n" for i in range(40)]
    one = prepared(tmp_path, format="csv", path=write(tmp_path, "x,kind\n" + "".join(rows)), label="kind")
    more = [f"{100 + i},c\n" for i in range(10)]
    other = prepared(tmp_path, format="csv", path=write(tmp_path, "x,kind\n" + "".join(more + rows)), label="kind")
    assert set(one.test_x.ravel()) == {x for x in other.test_x.ravel() if x < 100}


def test_columns_are_named_numbered_and_ignored(tmp_path):
    bare = write(tmp_path, "1;7;x\n2;8;y\n3;9;x\n4;6;y\n")
    facts = {"format": "csv", "path": bare, "header": False, "delimiter": ";", "label": -1}
    assert read(tmp_path, **facts).image == (2, 1, 1)
    data = prepared(tmp_path, **facts, ignore=[1], test_fraction=0.5)
    assert sorted(np.concatenate([data.train_x, data.test_x]).ravel()) == [6, 7, 8, 9]
    path = write(tmp_path, TABLE)
    assert read(tmp_path, format="csv", path=path, label=2, ignore=["height"]).image == (1, 1, 1)


def test_labels_that_are_integers_count_as_such_and_others_are_text(tmp_path):
    def names(*labels):
        text = "x,kind\n" + "".join(f"0,{label}\n" for label in labels for _ in range(2))
        return prepared(tmp_path, format="csv", path=write(tmp_path, text), label="kind").names

    assert names("10", "9", "-1") == ("-1", "9", "10")
    assert names("10", "9", "1b") == ("10", "1b", "9")
    assert names("007", "7") == ("007", "7")


def test_columns_are_standardised_over_the_training_samples(tmp_path):
    train = write(tmp_path, TABLE.replace("height", "same").replace(".5", "").replace("\n9,", "\n9,"), "a.csv")
    test = write(tmp_path, "width,kind,same\n4.5,a,45\n", "b.csv")
    facts = {"format": "csv", "path": {"train": train, "test": test}, "label": "kind", "standardise": True}
    data = prepared(tmp_path, **facts)
    assert np.allclose(data.train_x.mean(0), 0, atol=1e-6) and np.allclose(data.train_x.std(0), 1)
    assert np.allclose(data.test_x.ravel(), 0, atol=1e-6)


def test_a_column_that_is_the_same_everywhere_is_0_where_columns_are_standardised(tmp_path):
    text = "x,one,kind\n" + "".join(f"{i},0.1,{'ab'[i % 2]}\n" for i in range(10))
    data = prepared(tmp_path, format="csv", path=write(tmp_path, text), label="kind", standardise=True)
    assert not data.train_x[:, 1].any() and data.train_x[:, 0].any()


def test_given_parts_are_kept_and_val_comes_last_of_the_training_samples(tmp_path):
    paths = {
        part: write(tmp_path, f"x,kind\n{10 * i},a\n{10 * i + 1},b\n", f"{part}.csv")
        for i, part in enumerate(("train", "val", "test"))
    }
    data = prepared(tmp_path, format="csv", path=paths, label="kind")
    assert data.train_x.ravel().tolist() == [0, 1, 10, 11] and data.test_x.ravel().tolist() == [20, 21]
    assert data.held_out == 2


def test_spaces_a_byte_order_mark_quotes_and_blank_lines_do_no_harm(tmp_path):
    text = '\ufeffx,kind\r\n 1 ,"a,b"\r\n\r\n2, c\r\n3,"a,b"\r\n4,c\r\n'
    data = prepared(tmp_path, format="csv", path=write(tmp_path, text), label="kind")
    assert data.names == ("a,b", "c") and sorted(np.concatenate([data.train_x, data.test_x]).ravel()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message", "facts"),
    [
        (TABLE.replace("3,b", "wide,b"), r"t\.csv, line 5, column 'width': 'wide' is no number$", {}),
        (TABLE.replace("3,b", ",b"), r"t\.csv, line 5, column 'width': '' is no number", {}),
        (TABLE.replace("3,b", "1_0,b"), r"line 5, column 'width': '1_0' is no number", {}),
        (TABLE.replace("30.5", "nan"), r"t\.csv, line 5, column 'height': 'nan' is no finite number", {}),
        (TABLE.replace("30.5", "-inf"), r"line 5, column 'height': '-inf' is no finite number", {}),
        (TABLE.replace("30.5", "1e300"), r"line 5, column 'height': 1e\+300 is no finite number of 32 bits", {}),
        (TABLE.replace("30.5", "30.5,1"), r"line 5: 4 cells; expected 3", {}),
        (TABLE.replace("3,b", "3,"), r"line 5, column 'kind': no label", {}),
        (TABLE.replace("3,b", '3,"b'), r"t\.csv, line 11: unexpected end of data", {}),
        (TABLE, r"label = 'kin' \(did you mean 'kind'\?\)", {"label": "kin"}),
        (TABLE, r"label = 'kind'; .*is the delimiter right\?", {"delimiter": ";"}),
        (TABLE, r"label = 4; must be 1 to 3", {"label": 4}),
        (TABLE, r"label = 'kind'; without a header", {"header": False}),
        (TABLE, r"line 1, column '1': 'width' is no number; if line 1 names", {"header": False, "label": 2}),
        ("1,2,3\n", r"line 1 holds numbers: .* write header: false", {}),
        ("kind,kind\na,1\n", "2 columns have this name", {}),
        ("kind\na\nb\n", "no column is left", {}),
        ("", "holds no line", {}),
        ("x,kind\n", "holds no samples", {}),
        ("x,kind\n1,a\n2,a\n", "found 1 classes; needs 2", {}),
        ("x,kind\n1,a\n2,a\n3,b\n", "class 'b' has 1 sample", {}),
        ("x,kind\n1,0.5\n2,1.5\n", "labels are numbers such as 0.5; .* regression are not supported", {}),
    ],
)
def test_what_cannot_be_read_is_named_with_line_and_column(tmp_path, text, message, facts):
    refused(tmp_path, text, message, **facts)


def test_parts_that_do_not_go_together_are_refused(tmp_path):
    train = write(tmp_path, TABLE, "a.csv")
    for text, message in (
        (TABLE.replace("width", "depth"), r"b\.csv: columns depth, height; expected those of .*a\.csv: width, height"),
        (TABLE.replace(",a,", ",c,"), r"b\.csv: class 'c' has no sample in the training part, .*a\.csv"),
    ):
        test = write(tmp_path, text, "b.csv")
        with pytest.raises(ConfigError, match=message):
            read(tmp_path, format="csv", path={"train": train, "test": test}, label="kind")
    with pytest.raises(ConfigError, match="a part val, but none for the test"):
        read(tmp_path, format="csv", path={"train": train, "val": train}, label="kind")
    entry = read(tmp_path, format="csv", path={"train": train, "val": train}, label="kind", test_fraction=0.5)
    assert (entry.train, entry.test, entry.held_out) == (4 + 10, 6, 10)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"x,kind\n1,\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"t\.csv: no text in UTF-8"):
        read(tmp_path, format="csv", path="t.csv", label="kind")
