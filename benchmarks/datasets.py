"""The real data sets as embedfit reads them: training rows, held-out rows, test rows.

They lie in the folder that EMBEDFIT_DATA names, by default ../shared/data beside the project; they are not part of it.
"""

from __future__ import annotations

__all__ = ["CELLS", "Cell", "data_folder"]

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import embedfit as ef
from embedfit.pairs import Pairs


def data_folder() -> Path:
    """Where the data sets are.

    Raises:
        SystemExit: they are not there.
    """
    folder = Path(os.environ.get("EMBEDFIT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"no data sets at {folder}: set EMBEDFIT_DATA")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the quality table.

    Attributes:
        name: of the data set and task.
        metrics: what is reported, the main one first.
        lexical: figures to beat, measured beforehand (TF-IDF, and linear SVM for classes), for orientation.
        targets: wanted from scratch and from a pretrained MiniLM, in the order of `metrics`.
        load: seed -> train, dev (or None: split off by embedfit), test.
    """

    name: str
    metrics: tuple[str, ...]
    scratch: tuple[str, ...]
    minilm: tuple[str, ...]
    load: Callable[[int], tuple[Pairs, Pairs | None, Pairs]]
    reject: Callable[[], tuple[list[str], list[str]]] | None = None


def _banking77(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    del seed
    folder = data_folder() / "banking77"
    return ef.read(folder / "train.csv"), None, ef.read(folder / "test.csv")


def _clinc(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    del seed
    table = json.loads((data_folder() / "clinc150" / "data_full.json").read_text("utf-8"))
    train, dev, test = (
        ef.read([{"text": text, "intent": intent} for text, intent in table[part]]) for part in ("train", "val", "test")
    )
    return train, dev, test


def _clinc_reject() -> tuple[list[str], list[str]]:
    """Out-of-scope texts for choosing the threshold, and for reporting."""
    table = json.loads((data_folder() / "clinc150" / "data_full.json").read_text("utf-8"))
    return [text for text, _ in table["oos_val"]], [text for text, _ in table["oos_test"]]


def _hwu64(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    del seed
    train, dev, test = (ef.read(data_folder() / "hwu64" / f"{part}.csv") for part in ("train", "valid", "test"))
    return train, dev, test


def _halved(pairs: Pairs, group: list[str], known: Callable[[int], int], seed: int) -> tuple[Pairs, Pairs]:
    """Of each group the first `known(size)` rows, in an order drawn by the seed, against the rest."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    place: dict[str, list[int]] = {}
    for row in order.tolist():
        place.setdefault(group[row], []).append(row)
    train = [row for rows in place.values() for row in rows[: known(len(rows))]]
    test = [row for rows in place.values() for row in rows[known(len(rows)) :]]
    return pairs.take(sorted(train)), pairs.take(sorted(test))


def _stackfaq(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    pairs = ef.read(data_folder() / "stackfaq" / "rephrase.tsv", query="user_query", positive="standard_question")
    train, test = _halved(pairs, pairs.table["positive"].to_list(), lambda size: (size + 1) // 2, seed)
    return train, None, test


def _covid_q(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    pairs = ef.read(
        data_folder() / "covid_q" / "final_master_dataset.csv", text="Question", label="Question ID", on_bad_rows="skip"
    )
    table = pairs.table.unique(["text", "label"], maintain_order=True)
    pairs = Pairs(kind="classes", table=table, source=pairs.source)
    train, test = _halved(pairs, table["label"].to_list(), lambda size: 1, seed)
    return train, None, test


def _cmrc2018(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    """Chinese questions against 12,951 sentences; the questions of the trial part are the test."""
    del seed
    folder = data_folder()
    questions = pl.read_csv(folder / "cmrc2018" / "cmrc2018_queries.tsv", separator="\t", quote_char=None)
    questions = questions.drop_nulls("question")  # two are empty
    judged = pl.read_csv(folder / "clicklog_cmrc" / "qrels.csv").join(
        questions.select(query_id="qid", query="question", part="split"), on="query_id"
    )
    corpus = pl.read_csv(folder / "clicklog_cmrc" / "documents.csv").select("document_id", document="text")
    judged = judged.with_columns(pl.col("relevance").cast(pl.Float64))
    train, test = (
        Pairs(
            kind="collection",
            table=judged.filter(pl.col("part") == part).drop("part"),
            corpus=corpus,
            source="cmrc2018",
        )
        for part in ("dev", "trial")
    )
    return train, None, test


def _stsb_en(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    del seed
    table = pl.read_csv(
        data_folder() / "stsb" / "stsb_en.tsv.gz", separator="\t", quote_char=None, infer_schema_length=None
    ).select("split", "sentence1", "sentence2", pl.col("score").cast(pl.Float64))
    return _by_split(table, "stsb English")


def _stsb_zh(seed: int) -> tuple[Pairs, Pairs | None, Pairs]:
    del seed
    table = pl.read_csv(
        data_folder() / "stsb" / "en_zh_parallel.tsv", separator="\t", quote_char=None, infer_schema_length=None
    ).select("split", sentence1="zh1", sentence2="zh2", score=pl.col("score_zh").cast(pl.Float64))
    return _by_split(table, "stsb Chinese")


def _by_split(table: pl.DataFrame, source: str) -> tuple[Pairs, Pairs, Pairs]:
    names = table["split"].unique().to_list()
    dev = next(n for n in names if n in ("dev", "valid", "validation"))
    train, held_out, test = (
        Pairs(kind="graded", table=table.filter(pl.col("split") == part).drop("split"), source=source)
        for part in ("train", dev, "test")
    )
    return train, held_out, test


CELLS: tuple[Cell, ...] = (
    Cell(name="banking77", metrics=("accuracy@1",), scratch=(">= .915",), minilm=(">= .94",), load=_banking77),
    Cell(
        name="clinc150", metrics=("accuracy@1",), scratch=(">= .93",), minilm=(">= .967",), load=_clinc,
        reject=_clinc_reject,
    ),
    Cell(name="hwu64", metrics=("accuracy@1",), scratch=(">= .89",), minilm=(">= .925",), load=_hwu64),
    Cell(
        name="stackfaq", metrics=("recall@1", "recall@10"), scratch=("> lexical", "> lexical"),
        minilm=(">= .96", ">= .995"), load=_stackfaq,
    ),
    Cell(
        name="covid_q", metrics=("accuracy@1", "recall@5"), scratch=("> lexical", "> lexical"), minilm=("", ""),
        load=_covid_q,
    ),
    Cell(name="cmrc2018", metrics=("recall@10",), scratch=("> lexical",), minilm=("",), load=_cmrc2018),
    Cell(name="stsb English", metrics=("spearman",), scratch=("> lexical",), minilm=(">= .85",), load=_stsb_en),
    Cell(name="stsb Chinese", metrics=("spearman",), scratch=(">= .68",), minilm=("",), load=_stsb_zh),
)  # fmt: skip
