"""A static tower distilled from the packaged MiniLM on the texts of all open data sets, beside model2vec's.

    python -m benchmarks.distil                       three seeds, writes benchmarks/results/distil.{json,md}
    python -m benchmarks.distil --data banking77 --texts 3000 --seeds 1 --dry

One student per seed learns from the training texts of all English data sets together; no text that is tested is among
them, and no label is seen. Classes are found by the nearest class centroid of the training texts, pairs of stsb by
cosine; every figure is of test rows. model2vec distils the same teacher with its own vocabulary, and with the words of
the same texts added. What is done is kept: started again, the benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from scipy.stats import t as student_t

import embedfit as ef
from benchmarks.datasets import CELLS, data_folder
from benchmarks.ledger import Ledger
from benchmarks.quality import minilm
from embedfit.align import Teacher
from embedfit.metrics import spearman
from embedfit.towers import TwoTower, build

RESULTS = Path(__file__).parent / "results"
MEASURED = ("banking77", "clinc150", "hwu64", "stsb English")
ENGLISH = (*MEASURED, "stackfaq", "covid_q", "cranfield")
TEXT_COLUMNS = {"graded": ("sentence1", "sentence2"), "classes": ("text",), "pairs": ("query", "positive")}
PART = 2_048  # texts whose vectors are kept in one file
Encode = Callable[[list[str]], np.ndarray]
Make = Callable[[], tuple[Encode, int]]
Test = tuple[ef.Pairs, ef.Pairs]


def unit(rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """Rows of length 1; a row of zeros stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def texts_of(rows: ef.Pairs) -> list[str]:
    """All texts, those of pairs one by one."""
    return [text for column in TEXT_COLUMNS[rows.kind] for text in rows.table[column].to_list()]


def sentences() -> list[str]:
    """Those of the abstracts of cranfield, which are lower case with a point between blanks."""
    table = pl.read_csv(data_folder() / "cranfield" / "cranfield_docs.tsv", separator="\t", quote_char=None)
    return [
        s.strip() for text in table[table.columns[-1]].drop_nulls().to_list() for s in text.split(" . ") if s.strip()
    ]


def training_texts(names: Sequence[str], tests: Mapping[str, Test], most: int) -> list[str]:
    """Distinct training texts of the data sets, without any that is tested, in an order that is drawn once."""
    found = [sentences() if n == "cranfield" else texts_of(_cell(n)[0]) for n in names]
    tested = {text for _, test in tests.values() for text in texts_of(test)}
    texts = [text for text in dict.fromkeys(text for part in found for text in part) if text not in tested]
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:most]]


def _cell(name: str) -> Test:
    train, _, test = next(cell for cell in CELLS if cell.name == name).load(0)
    return train, test


def taught(texts: Sequence[str], teacher: TwoTower, scratch: Path) -> Float[np.ndarray, "n e"]:
    """The teacher's vectors, from files where they have been worked out before."""
    scratch.mkdir(parents=True, exist_ok=True)
    out = []
    for start in range(0, len(texts), PART):
        part = list(texts[start : start + PART])
        place = scratch / f"{hashlib.sha256(json.dumps(part).encode()).hexdigest()[:32]}.npy"
        if not place.is_file():
            began = time.perf_counter()
            rows = teacher.encode(part)
            with tempfile.NamedTemporaryFile(dir=scratch, delete=False) as file:
                np.save(file, rows)
            Path(file.name).replace(place)
            rate = len(part) / (time.perf_counter() - began)
            print(f"teacher: {start + len(part):,} of {len(texts):,} texts, {rate:,.0f} per second", flush=True)
        out.append(np.load(place))
    return np.concatenate(out)


def scored(encode: Encode, train: ef.Pairs, test: ef.Pairs) -> float:
    """Accuracy@1 by class centroids, or Spearman of cosine and grade."""
    if test.kind == "graded":
        a, b = (unit(encode(test.table[c].to_list())) for c in ("sentence1", "sentence2"))
        return spearman((a * b).sum(1).astype(np.float64), test.table["score"].to_numpy().astype(np.float64))
    labels, number = np.unique(train.table["label"].to_list(), return_inverse=True)
    vectors = unit(encode(train.table["text"].to_list()))
    centroids = unit(np.stack([vectors[number == i].mean(0) for i in range(len(labels))]))
    nearest = labels[(unit(encode(test.table["text"].to_list())) @ centroids.T).argmax(1)]
    return float(np.mean(nearest == np.array(test.table["label"].to_list())))


def pace(encode: Encode, texts: list[str]) -> float:
    """Texts per second: the best of three passes over distinct texts."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        encode(texts)
        times.append(time.perf_counter() - began)
    return len(texts) / min(times)


def students(texts: list[str], at_hand: Teacher, seed: int) -> Iterator[tuple[str, Make]]:
    """Ours by name, each made when it is called."""
    bare = build("static", texts, dimension=at_hand.vectors.shape[1], seed=seed)
    yield "embedfit static", lambda: _ours(ef.distil(texts, at_hand, seed=seed).model)
    yield "embedfit static, 256 dimensions", lambda: _ours(ef.distil(texts, at_hand.reduced(256), seed=seed).model)
    yield "embedfit static, from the vectors alone", lambda: _ours(ef.distil(texts, at_hand.vectors, seed=seed).model)
    yield "a static tower untrained", lambda: _ours(TwoTower(bare).eval())


def _ours(model: TwoTower) -> tuple[Encode, int]:
    return model.encode, sum(p.numel() for p in model.parameters())


def theirs(texts: list[str]) -> Iterator[tuple[str, Make]]:
    """model2vec's, which has no seed."""
    words = Counter(word for text in texts for word in text.lower().split() if word.isalpha())
    known = [word for word, count in words.most_common() if count > 1]
    for name, more in {
        "model2vec": {},
        "model2vec, 384 dimensions": {"pca_dims": 384},
        "model2vec, words of the texts added": {"vocabulary": known},
    }.items():
        yield name, partial(_their, more)


def _their(more: Mapping[str, Any]) -> tuple[Encode, int]:
    from model2vec.distill import distill

    model = distill(model_name=minilm(), device="cpu", **more)
    # one process, as for the others
    return partial(model.encode, use_multiprocessing=False), int(np.prod(model.embedding.shape))


def scores(encode: Encode, tests: Mapping[str, Test]) -> dict[str, float]:
    """The figure of one model on each data set."""
    return {name: round(scored(encode, train, test), 5) for name, (train, test) in tests.items()}


def contest(asked: argparse.Namespace, ledger: Ledger) -> int:
    """Every model that the ledger does not have yet; how many texts they learn from."""
    tests = {name: _cell(name) for name in asked.data}
    texts = training_texts(asked.learn, tests, asked.texts)
    teacher = ef.load(minilm())
    book: dict[str, Float[np.ndarray, " e"]] = {}

    def encode(some: list[str]) -> Float[np.ndarray, "n e"]:
        new = [text for text in dict.fromkeys(some) if text not in book]
        if new:
            book.update(zip(new, taught(new, teacher, asked.scratch), strict=True))
        return np.stack([book[text] for text in some])

    at_hand = replace(Teacher.of(teacher, encode(texts)), encode=encode)

    def add(name: str, seed: int, make: Make) -> None:
        def work() -> dict[str, Any]:
            began = time.perf_counter()
            own, parameters = make()
            seconds = round(time.perf_counter() - began, 1)
            values = scores(encode if name == "teacher" else own, tests)
            rate = round(pace(own, texts[: 500 if name == "teacher" else 20_000]), 1)
            return {"seconds": seconds, "parameters": parameters, "texts_per_second": rate, "values": values}

        ledger.row({"model": name, "seed": seed}, work)

    add("teacher", 0, lambda: _ours(teacher))
    for seed in range(asked.seeds):
        for name, make in students(texts, at_hand, seed):
            add(name, seed, make)
    for name, make in theirs(texts):
        add(name, 0, make)
    return len(texts)


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The results as Markdown."""
    by_model: dict[str, list[Mapping[str, Any]]] = {}
    for row in found:
        by_model.setdefault(row["model"], []).append(row)
    whole = by_model["teacher"][0]
    names = list(whole["values"])
    heads = ["model", "parameters", *names, "kept of the teacher", "texts/s", "speed-up"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for model, rows in by_model.items():
        kept = [mean(row["values"][n] / whole["values"][n] for n in names) for row in rows]
        rate = max(row["texts_per_second"] for row in rows)
        cells = [
            model,
            f"{rows[0]['parameters']:,}",
            *(spread([row["values"][n] for row in rows]) for n in names),
            spread(kept),
            f"{rate:,.0f}",
            f"{rate / whole['texts_per_second']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Mean, and half of its 95 % interval (Student's t) over seeds."""
    said = f"{mean(values):.3f}"
    if len(values) < 2:
        return said
    return f"{said} ± {student_t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5:.3f}"


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="Distillation into static towers.")
    parser.add_argument("--data", nargs="*", default=list(MEASURED), choices=MEASURED, help="measured on")
    parser.add_argument("--learn", nargs="*", choices=ENGLISH, help="texts learned from; without: of all, or of --data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=1_000_000, help="to learn from, at most")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "embedfit-distil",
                        help="where the teacher's vectors are kept")  # fmt: skip
    parser.add_argument("--dry", action="store_true", help="print, keep nothing")
    asked = parser.parse_args()
    asked.learn = asked.learn or (ENGLISH if len(asked.data) == len(MEASURED) else asked.data)
    torch.set_num_threads(1)
    place = None if asked.dry else RESULTS / "distil.json"
    ledger = Ledger(place, {"data": list(asked.data), "learn": list(asked.learn), "most": asked.texts})
    texts = contest(asked, ledger)
    head = f"Printed by `python -m benchmarks.distil`: {texts:,} texts to learn from, one thread."
    said = f"{head}\n\n{table(ledger.rows)}\n"
    print(said)
    if place is not None:
        place.with_suffix(".md").write_text(said, "utf-8")


if __name__ == "__main__":
    main()
