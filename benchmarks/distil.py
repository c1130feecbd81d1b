"""A static tower distilled from the packaged MiniLM, beside model2vec's distillation of the same teacher.

    python -m benchmarks.distil                       all data sets, three seeds
    python -m benchmarks.distil --data banking77 --seeds 1 --texts 3000

Both see the training texts only (model2vec: as the vocabulary's teacher needs none). Classes are found by the nearest
class centroid of the training texts, pairs of stsb by cosine; every figure is of test rows. model2vec is an optional
contestant: pip install 'model2vec[distill]'.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Float

import embedfit as ef
from benchmarks.datasets import CELLS, Cell
from benchmarks.quality import minilm
from embedfit.metrics import spearman
from embedfit.towers import build

DATA = ("banking77", "clinc150", "hwu64", "stsb English")
Encode = Callable[[list[str]], np.ndarray]


def unit(rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """Rows of length 1; a row of zeros stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def texts_of(rows: ef.Pairs) -> list[str]:
    """All texts, graded pairs as single sentences."""
    columns = ("sentence1", "sentence2") if rows.kind == "graded" else ("text",)
    return [text for column in columns for text in rows.table[column].to_list()]


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


def speed(encode: Encode, texts: list[str]) -> float:
    """Texts per second, the best of three passes over at most 500 texts."""
    part = texts[:500]
    times = []
    for _ in range(3):
        began = time.perf_counter()
        encode(part)
        times.append(time.perf_counter() - began)
    return len(part) / min(times)


def contestants(texts: list[str], teacher: Encode, seed: int) -> Mapping[str, tuple[Encode, int]]:
    """Students by name: how they embed, and their parameters."""
    vectors = teacher(texts)
    out: dict[str, tuple[Encode, int]] = {}
    small = build("static", texts, dimension=256, seed=seed)
    settings: dict[str, dict[str, Any]] = {
        "static": {"encode": teacher},
        "static, 256 dimensions": {"encode": teacher, "student": small},
        "static, random start": {},
        "static, cosine alone": {"encode": teacher, "objective": "cosine"},
    }
    for name, more in settings.items():
        model = ef.distil(texts, vectors, seed=seed, **more).model
        out[name] = (model.encode, sum(p.numel() for p in model.parameters()))
    if find_spec("model2vec") is not None and seed == 0:  # it has no seed: one result
        from model2vec.distill import distill

        theirs = distill(model_name=minilm(), pca_dims=256, device="cpu")
        out["model2vec, 256 dimensions"] = (theirs.encode, int(np.prod(theirs.embedding.shape)))
    return out


def cells(names: Sequence[str]) -> list[Cell]:
    """The data sets asked for."""
    return [cell for cell in CELLS if cell.name in names]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Distillation into static towers.")
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=100_000, help="texts of a data set to learn from, at most")
    arguments = parser.parse_args()
    towers = ef.load(minilm())
    found: dict[tuple[str, str], list[float]] = {}
    pace: dict[str, list[float]] = {}
    size: dict[str, int] = {}
    for cell in cells(arguments.data):
        train, _, test = cell.load(0)
        texts = list(dict.fromkeys(texts_of(train)))
        np.random.default_rng(0).shuffle(texts)
        texts = texts[: arguments.texts]
        students = {"teacher": (towers.encode, sum(p.numel() for p in towers.parameters()))}
        for seed in range(arguments.seeds):
            for name, (encode, parameters) in {**(students if seed == 0 else {}),
                                               **contestants(texts, towers.encode, seed)}.items():  # fmt: skip
                found.setdefault((name, cell.name), []).append(scored(encode, train, test))
                pace.setdefault(name, []).append(speed(encode, texts))
                size[name] = parameters
    print(f"| model | parameters | texts/s | {' | '.join(arguments.data)} | kept of the teacher |")
    print("|" + "---|" * (len(arguments.data) + 4))
    for name, rates in pace.items():
        values = [mean(found[name, data]) for data in arguments.data]
        whole = [mean(found["teacher", data]) for data in arguments.data]
        shown = [f"{v:.3f} ({min(found[name, d]):.3f}..{max(found[name, d]):.3f})"
                 for v, d in zip(values, arguments.data, strict=True)]  # fmt: skip
        kept = mean(v / w for v, w in zip(values, whole, strict=True))
        print(f"| {name} | {size[name]:,} | {max(rates):,.0f} | {' | '.join(shown)} | {kept:.1%} |")


if __name__ == "__main__":
    main()
