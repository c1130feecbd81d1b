from __future__ import annotations

import sys

import datasets
import pandas as pd
import polars as pl
import pytest

from embedfit.data import describe_binding, memory, read
from embedfit.errors import DataError

ROWS = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
COLUMNS = {"text": ["a", "b"], "label": ["x", "y"]}
FEATURES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y"])})


def dataset() -> datasets.Dataset:
    return datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=FEATURES)


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        tuple(ROWS),
        COLUMNS,
        {"text": pl.Series(["a", "b"]), "label": ["x", "y"]},
        pl.DataFrame(COLUMNS),
        pl.LazyFrame(COLUMNS),
        pl.DataFrame(COLUMNS).cast({"label": pl.Categorical}),
        pd.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS).to_arrow(),
        dataset(),
        dataset().to_iterable_dataset(),
    ],
    ids=lambda s: type(s).__name__,
)
def test_every_table_in_memory_reads_alike(source):
    pairs = read(source)
    assert pairs.kind == "classes"
    assert pairs.table.rows() == [("a", "x"), ("b", "y")]
    assert pairs.source == "in-memory rows"


def test_a_shuffled_data_set_keeps_its_order():
    shuffled = dataset().select([1, 0])
    assert read(shuffled).table.rows() == [("b", "y"), ("a", "x")]


def test_a_dict_of_splits_gives_train_and_says_so():
    splits = datasets.DatasetDict({"test": dataset().select([0]), "train": dataset()})
    pairs = read(splits)
    assert len(pairs) == 2
    assert "note: took the split 'train'; left aside: 'test'" in describe_binding(pairs)
    assert len(read(splits, split="test")) == 1
    with pytest.raises(DataError, match=r"no split 'dev'; its splits are test, train"):
        read(splits, split="dev")
    with pytest.raises(DataError, match=r"several splits and none is called 'train'"):
        read(datasets.DatasetDict({"a": dataset(), "b": dataset()}))


def test_a_data_set_on_disk_is_recognised(tmp_path):
    dataset().save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one").table.rows() == [("a", "x"), ("b", "y")]
    datasets.DatasetDict({"train": dataset()}).save_to_disk(tmp_path / "many")
    assert len(read(tmp_path / "many")) == 2
    (tmp_path / "one" / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot be read as a saved data set"):
        read(tmp_path / "one")


def test_a_label_of_minus_one_is_no_label():
    unlabelled = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, -1]}, features=FEATURES)
    with pytest.raises(DataError, match=r"in-memory rows, column 'label': no value \(row 2\)"):
        read(unlabelled)


def test_a_stream_is_cut_and_says_so(monkeypatch):
    assert "a stream: all its 2 rows were taken" in describe_binding(read(dataset().to_iterable_dataset()))
    monkeypatch.setattr(memory, "STREAM_ROWS", 1)
    pairs = read(dataset().to_iterable_dataset())
    assert len(pairs) == 1
    assert "a stream: its first 1 rows were taken" in describe_binding(pairs)
    with pytest.raises(DataError, match=r"the stream has no rows"):
        read(datasets.IterableDataset.from_generator(lambda: iter(()), features=FEATURES))


def test_numbers_and_gaps_of_pandas_are_understood():
    frame = pd.DataFrame({"sentence1": ["a", "b"], "sentence2": ["c", None], "label": [1, 0]})
    pairs = read(frame, on_bad_rows="skip")
    assert pairs.table.rows() == [("a", "c", 1.0)]
    assert str(pairs.left_out[0]) == "in-memory rows, column 'sentence2': no value (row 2)"


def test_bad_rows_of_a_list_are_named_by_their_number():
    rows = [
        *ROWS,
        {"text": {"deep": 1}, "label": "x"},
        {"text": " ", "label": "x"},
        {"text": float("nan"), "label": "x"},
    ]
    pairs = read(rows, on_bad_rows="skip")
    assert [(b.line, b.reason) for b in pairs.left_out] == [
        (0, "an object where text was expected (row 3)"),
        (0, "empty (row 4)"),
        (0, "no value (row 5)"),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "an empty list"),
        ({}, "cannot read rows from an empty dict"),
        (42, "an object of type int"),
        ([1, 2], "an object of type list"),
        ({"text": ["a"], "label": ["x", "y"]}, "different lengths: 'text' 1, 'label' 2"),
        ({"text": "a", "label": "x"}, "needs a list under every name; got 'text': str"),
        ({"text": 1, "label": "x"}, "needs a list under every name; got 'text': int"),
        ({"text": [], "label": []}, "in-memory rows has no rows"),
        (pl.DataFrame(), "the table has no columns"),
    ],
)
def test_what_is_no_table_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        read(source)


def test_the_hub_out_of_reach_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    before = datasets.config.HF_HUB_OFFLINE
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"'owner/name' is no file or folder here, .*the hub cannot be reached"):
        read("owner/name")
    assert before == datasets.config.HF_HUB_OFFLINE


def test_a_hub_that_does_not_answer_is_noticed(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise OSError("no route")

    monkeypatch.setattr(memory.socket, "create_connection", refuse)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    assert not memory._hub_answers()
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example:8443")
    assert not memory._hub_answers()
    assert asked == [("hub.example", 80), ("hub.example", 8443)]
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert memory._hub_answers()


def test_a_hub_data_set_is_loaded_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "_hub_answers", lambda: True)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, split: {None: datasets.DatasetDict({"train": dataset()})}[split]
    )
    pairs = read("owner/name")
    assert pairs.source == "owner/name"
    assert "comes from the Hugging Face hub" in describe_binding(pairs)


def test_without_the_datasets_library_a_hub_name_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the library 'datasets'.*\nhint: pip install embedfit\[datasets\]"):
        read("owner/name")
