"""Two languages in one space: a small tower learns that Chinese sentences mean what an English teacher says they do.

    python -m studies.two_languages                   three seeds, writes results/two_languages.{json,md}
    python -m studies.two_languages --seeds 1 --pairs 500 --dry
    python -m studies.two_languages --students static gru      a recurrent student too: an hour more

The teacher is the packaged English MiniLM, which reads no Chinese. Students are trained from scratch by `ef.distil` on
the sentences of STS-B with their translations: each Chinese sentence is to land on the teacher's vector of its English
original. They learn from the training and development rows; a pair of which either side occurs in a test row is left
out. Measured on the test rows: how often a Chinese sentence finds its own English one among all of them, as the student
embeds it and as the teacher does, and the rank correlation of cosine and grade for Chinese pairs, though no grade was
ever seen. What is done is kept: started again, the study goes on where it was.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import polars as pl
import torch
from benchmarks.datasets import data_folder
from benchmarks.distil import taught
from benchmarks.ledger import Ledger
from benchmarks.quality import minilm
from jaxtyping import Float
from sklearn.feature_extraction.text import TfidfVectorizer

import embedfit as ef
from embedfit.align import Teacher
from embedfit.align.quality import quality
from embedfit.metrics import spearman
from embedfit.pairs import normalise
from embedfit.towers import TwoTower, build
from studies.common import interval, table, verdicts

RESULTS = Path(__file__).parent / "results"
STUDENTS = ("static", "gru")
Pair = tuple[str, str]


def sentences(part: Sequence[str]) -> tuple[list[Pair], pl.DataFrame]:
    """Distinct (English, Chinese) sentences of some splits, and their rows."""
    rows = pl.read_csv(
        data_folder() / "stsb" / "en_zh_parallel.tsv", separator="\t", quote_char=None, infer_schema_length=None
    ).filter(pl.col("split").is_in(list(part)))
    pairs = [pair for side in "12" for pair in zip(rows[f"en{side}"], rows[f"zh{side}"], strict=True)]
    return list(dict.fromkeys(pairs)), rows


def lessons() -> list[Pair]:
    """Pairs to learn from: none shares a sentence of either language with a test row."""
    tested = {normalise(text) for pair in sentences(["test"])[0] for text in pair}
    return [pair for pair in sentences(["train", "dev"])[0] if not tested & {normalise(text) for text in pair}]


def exam(
    zh: Float[np.ndarray, "n e"], en: Float[np.ndarray, "n e"], teacher: Float[np.ndarray, "n f"] | None
) -> dict[str, float]:
    """Chinese test sentences search for their English ones."""
    own = np.arange(len(zh))
    out = {}
    for name, pool in (("student", en), ("teacher", teacher)):
        if pool is not None:
            found = quality(zh, pool, own, cosine=True)
            out |= {f"{name}/recall@{k}": round(found.recall(k), 5) for k in (1, 10)} | {"candidates": found.candidates}
    return out


def graded(model: TwoTower, rows: pl.DataFrame, language: str) -> float:
    """Rank correlation of cosine and grade on the test rows; Chinese grades are the English ones rounded down."""
    a, b = (model.encode(rows[f"{language}{side}"].to_list()) for side in "12")
    return round(spearman((a * b).sum(1).astype(np.float64), rows[f"score_{language}"].to_numpy().astype(float)), 5)


def words(rows: pl.DataFrame, train: Sequence[Pair]) -> dict[str, Any]:
    """What characters alone say of Chinese pairs."""
    made = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True).fit([zh for _, zh in train])
    a, b = (made.transform(rows[f"zh{side}"].to_list()) for side in "12")
    cosine = np.asarray(a.multiply(b).sum(1)).ravel()
    return {"zh/spearman": round(spearman(cosine, rows["score_zh"].to_numpy().astype(float)), 5)}


def student(
    name: str, seed: int, train: list[Pair], vectors: Float[np.ndarray, "n e"], teacher: TwoTower
) -> dict[str, Any]:
    """Train one, and measure it before and after."""
    english, chinese = ([pair[side] for pair in train] for side in (0, 1))
    pairs, rows = sentences(["test"])
    en, zh = ([pair[side] for pair in pairs] for side in (0, 1))
    untrained = TwoTower(build(name, [*english, *chinese], dimension=vectors.shape[1], seed=seed)).eval()
    before = {"untrained/zh/spearman": graded(untrained, rows, "zh")}
    before |= {f"untrained/{k}": v for k, v in exam(untrained.encode(zh), untrained.encode(en), None).items()}
    made = ef.distil(
        english, Teacher(vectors=vectors, encode=teacher.encode), student=name, translations=chinese, seed=seed
    )
    return {
        **before,
        "temperature": made.temperature,
        **exam(made.model.encode(zh), made.model.encode(en), teacher.encode(en)),
        **{f"{language}/spearman": graded(made.model, rows, language) for language in ("zh", "en")},
    }


def page(ledger: Ledger) -> str:
    """The table and the verdict."""
    columns = {
        "student/recall@1": "zh -> en, R@1",
        "student/recall@10": "R@10",
        "teacher/recall@1": "zh -> teacher's en, R@1",
        "teacher/recall@10": "R@10",
        "zh/spearman": "Chinese STS-B",
        "en/spearman": "English STS-B",
    }
    lines = []
    for name in dict.fromkeys(row["model"] for row in ledger.rows):
        own = ledger.of(model=name)
        lines.append([name, *(_shown(own, column) for column in columns)])
        if name in STUDENTS:
            lines.append([f"{name}, untrained", *(_shown(own, f"untrained/{column}") for column in columns)])
    said = {}
    own = ledger.of(model="static")
    lexical = ledger.of(model="TF-IDF of characters")
    if own and lexical:
        found, least = mean(row["zh/spearman"] for row in own), lexical[0]["zh/spearman"]
        crossed = mean(row["student/recall@10"] for row in own)
        said["S0.35 a student learns what its teacher says of texts that it cannot read"] = (
            "reproduced" if found > least and crossed > 0.5 else "refined" if crossed > 0.1 else "refuted",
            f"zero-shot Chinese STS-B {found:.3f} (characters alone {least:.3f}); a Chinese sentence finds its English "
            f"one among the first ten of {own[0]['candidates']:,} for {crossed:.3f}",
        )
    return f"{table(['model', *columns.values()], lines)}\n\n{verdicts(said)}"


def _shown(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [row[name] for row in rows if name in row]
    return interval(values) if values else ""


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="Two languages in one space.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--students", nargs="+", default=["static"], choices=STUDENTS)
    parser.add_argument("--pairs", type=int, default=100_000, help="of sentences to learn from, at most")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "embedfit-distil",
                        help="where the teacher's vectors are kept")  # fmt: skip
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    train = lessons()
    train = [train[i] for i in np.random.default_rng(0).permutation(len(train))[: asked.pairs]]
    teacher = ef.load(minilm())
    vectors = taught([en for en, _ in train], teacher, asked.scratch)
    place = None if asked.dry else RESULTS / "two_languages.json"
    ledger = Ledger(place, {"pairs": len(train)})
    rows = sentences(["test"])[1]
    ledger.row({"model": "TF-IDF of characters", "seed": 0}, partial(words, rows, train))
    both = ("zh", "en")
    ledger.row({"model": "the teacher itself", "seed": 0},
               lambda: {f"{name}/spearman": graded(teacher, rows, name) for name in both})  # fmt: skip
    for name in asked.students:
        for seed in range(asked.seeds):
            ledger.row({"model": name, "seed": seed}, partial(student, name, seed, train, vectors, teacher))
    said = f"{len(train):,} sentences with their translations to learn from.\n\n{page(ledger)}"
    print(said)
    if place is not None:
        place.with_suffix(".md").write_text(said + "\n", "utf-8")


if __name__ == "__main__":
    main()
