"""S0.38: which spaces map onto which: banking77 in two real text-embedding spaces, views of handwritten and leaves100.

    python -m studies.align_spaces                     all tables, three seeds, writes results/align_spaces.{json,md}
    python -m studies.align_spaces --only banking77 --seeds 1 --rows 2000 --dry

For each ordered pair of spaces: recall@1 of the right target by each kind of map on held-out items, the verdict, and
the map that was chosen; the same pairs shuffled must be refused. Then banking77 as an index that moves: the map learns
from training texts alone, and each test text searches as a new query, for its own migrated vector among those of all
texts, and for a training text of its class. What is done is kept: started again, the study goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import permutations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from benchmarks.datasets import CELLS, data_folder
from benchmarks.ledger import Ledger
from jaxtyping import Bool, Float, Shaped

from embedfit.align import Alignment, align
from embedfit.align.search import search_quality
from embedfit.align.spaces import ruler_for
from embedfit.data.vectors import Matched
from embedfit.errors import DataError
from studies.common import interval, table, verdicts

RESULTS = Path(__file__).parent / "results"
SETS = ("banking77", "leaves100", "handwritten")
PAIRS = (250, 1_000, 4_000, 10_003)  # of training texts that a map learns from
Row = Mapping[str, Any]
Verdict = tuple[str, str]


def arrays(name: str) -> dict[str, Shaped[np.ndarray, "n *e"]]:
    """All arrays of a data set; vectors in float32."""
    file = "banking77_minilm384_potion128" if name == "banking77" else name
    with np.load(data_folder() / "embeddings" / f"{file}.npz") as found:
        return {key: found[key].astype(np.float32) if found[key].ndim == 2 else found[key] for key in found}


def banking77_classes() -> Shaped[np.ndarray, " n"]:
    """The class of each row of its vectors: the training rows of the data set, then its test rows."""
    train, _, test = next(cell for cell in CELLS if cell.name == "banking77").load(0)
    names = [*train.table["label"].to_list(), *test.table["label"].to_list()]
    return np.unique(names, return_inverse=True)[1]


def pairs_of(source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"]) -> Matched:
    """Rows side by side."""
    rows = np.arange(len(source))
    names = tuple(f"row {i}" for i in rows)
    return Matched(source=source, target=target, names=names, rows=rows, source_rows=len(rows))


def one(source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"], seed: int) -> dict[str, Any]:
    """The figures of a pair of spaces, and whether the shuffled pair is refused."""
    try:
        found = align(pairs_of(source, target), seed=seed)
    except DataError as error:
        return {"error": error.message}
    shuffled = target[np.random.default_rng(seed).permutation(len(target))]
    control = align(pairs_of(source, shuffled), seed=seed)
    return {**figures(found), "refused": not control.exists}


def figures(found: Alignment) -> dict[str, Any]:
    """What the table shows of an alignment."""
    best = {t.kind: round(t.quality.recall(1), 5) for t in found.exam.trials}  # of the ranks of low-rank, the highest
    fit = found.fit
    return {
        **best,
        "r2": round(max(t.r2 for t in found.exam.trials), 5),
        "exists": found.exists,
        "kind": fit.kind if fit else "none",
        "fit": round(fit.quality.recall(10), 5) if fit else None,
        "findings": [f.name for f in found.findings if f.severity != "info"],
    }


def moved(
    old: Float[np.ndarray, "n a"],
    new: Float[np.ndarray, "n e"],
    labels: Shaped[np.ndarray, " n"],
    test: Bool[np.ndarray, " n"],
    *,
    pairs: int,
    seed: int,
) -> dict[str, Any]:
    """Test texts search: an index of old vectors as old queries, of new ones as new, of migrated ones as new."""
    train = np.random.default_rng(seed).permutation(np.flatnonzero(~test))[:pairs]
    fit = align(pairs_of(old[train], new[train]), seed=seed).fit
    if fit is None:
        return {"kind": "none"}
    unit = [ruler_for(rows, "cosine") for rows in (old, new)]
    x, y = unit[0](old), unit[1](new)
    migrated = unit[1](fit.map.map(old))
    queries = np.flatnonzero(test)
    found = search_quality(x, y, migrated, queries=queries, labels=labels).to_dict()
    return {"kind": fit.kind, **{name: round(v, 5) for name, v in found.items() if isinstance(v, float)}}


def spaces(ledger: Ledger, asked: argparse.Namespace) -> None:
    """Every ordered pair of spaces of every data set."""
    for name in asked.only:
        views = {key: rows for key, rows in arrays(name).items() if rows.ndim == 2}
        order = np.random.default_rng(0).permutation(len(next(iter(views.values()))))[: asked.rows]
        for a, b in list(permutations(views, 2))[: asked.most]:
            for seed in range(asked.seeds):
                key = {"table": "spaces", "data": name, "source": a, "target": b, "seed": seed}
                ledger.row(key, partial(one, views[a][order], views[b][order], seed))


def index(ledger: Ledger, asked: argparse.Namespace) -> None:
    """The index of banking77, moved in both directions by maps from few and from many pairs."""
    found, classes = arrays("banking77"), banking77_classes()
    order = np.random.default_rng(0).permutation(len(classes))[: asked.rows]
    test, labels = found["is_test"].astype(bool)[order], classes[order]
    for a, b in (("potion", "minilm"), ("minilm", "potion")):
        for pairs in PAIRS:
            for seed in range(asked.seeds):
                key = {"table": "index", "source": a, "target": b, "pairs": pairs, "seed": seed}
                ledger.row(key, partial(moved, found[a][order], found[b][order], labels, test, pairs=pairs, seed=seed))


def grouped(rows: Sequence[Row], *names: str) -> list[list[Row]]:
    """Rows that share these columns, in the order they come."""
    out: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        out.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(out.values())


def shown(rows: Sequence[Row], name: str) -> str:
    """Mean and half of its 95 % interval over the seeds that have a value."""
    values = [row[name] for row in rows if row.get(name) is not None]
    return interval(values) if values else ""


def spaces_table(rows: Sequence[Row]) -> str:
    """Ceilings, verdicts and fits."""
    kinds = ("orthogonal", "low-rank", "linear", "mlp", "r2", "fit")
    lines = []
    for part in grouped([row for row in rows if "error" not in row], "data", "source", "target"):
        yes, refused = (sum(row[name] for row in part) for name in ("exists", "refused"))
        lines.append([
            f"{part[0]['data']}: {part[0]['source']} -> {part[0]['target']}",
            *(shown(part, kind) for kind in kinds),
            "/".join(sorted({row["kind"] for row in part})),
            f"{yes} of {len(part)}",
            f"{refused} of {len(part)}",
            ", ".join(part[0]["findings"]),
        ])  # fmt: skip
    heads = ["spaces", *(f"{kind} R@1" for kind in kinds[:4]), "best R2", "chosen R@10", "chosen", "mapping",
             "shuffled refused", "findings"]  # fmt: skip
    return table(heads, lines)


def index_table(rows: Sequence[Row]) -> str:
    """What test texts find in an index that moved."""
    columns = {
        "own/recall@1": "new query finds its own migrated vector",
        "own/recall@10": "among the first 10",
        "accuracy@1/old": "class, old on old",
        "accuracy@1/new": "class, new on new",
        "accuracy@1/migrated": "class, new on migrated",
        "agreement@10/old": "first 10 as the new model's: old",
        "agreement@10/migrated": "migrated",
    }
    lines = [
        [f"{part[0]['source']} -> {part[0]['target']}", f"{part[0]['pairs']:,}", "/".join({r["kind"] for r in part}),
         *(shown(part, name) for name in columns)]
        for part in grouped(rows, "source", "target", "pairs")
    ]  # fmt: skip
    return table(["index", "pairs", "map", *columns.values()], lines)


def judged(ledger: Ledger) -> dict[str, Verdict]:
    """Verdicts on what the rows can decide."""
    out: dict[str, Verdict] = {}
    rows = [row for row in ledger.of(table="spaces") if "error" not in row]
    if rows:
        refused, found = (sum(row[name] for row in rows) for name in ("refused", "exists"))
        said = f"{refused} of {len(rows)} shuffled pairs refused; of the true ones {found} have a mapping"
        out["S0.38 ask first whether there is a mapping"] = (
            "reproduced" if refused == len(rows) and found else "refined" if refused > 0.95 * len(rows) else "refuted",
            said,
        )
    most = [
        row for row in ledger.of(table="index", source="potion") if row["pairs"] == PAIRS[-1] and "own/recall@1" in row
    ]
    if most:
        old, new, migrated = (mean(row[f"accuracy@1/{name}"] for row in most) for name in ("old", "new", "migrated"))
        own = mean(row["own/recall@1"] for row in most)
        out["S0.38 migrated vectors serve new queries nearly as well"] = (
            "reproduced" if migrated >= 0.95 * new else "refined" if migrated >= 0.95 * old else "refuted",
            f"a new query finds its own migrated vector first for {own:.3f}, a text of its class for {migrated:.3f} "
            f"(new on new {new:.3f}, old on old {old:.3f})",
        )
    return out


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="Which spaces map onto which.")
    parser.add_argument("--only", nargs="*", default=[*SETS, "index"], choices=[*SETS, "index"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000, help="items of a data set, at most")
    parser.add_argument("--most", type=int, default=100, help="pairs of spaces of a data set, at most")
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    place = None if asked.dry else RESULTS / "align_spaces.json"
    ledger = Ledger(place, {"rows": asked.rows})
    if "index" in asked.only:
        index(ledger, asked)
    asked.only = [name for name in asked.only if name != "index"]
    spaces(ledger, asked)
    drawn = {"spaces": spaces_table(ledger.of(table="spaces")), "index": index_table(ledger.of(table="index")),
             "verdicts": verdicts(judged(ledger))}  # fmt: skip
    said = "\n\n".join(f"### {name}\n\n{text}" for name, text in drawn.items())
    print(said)
    if place is not None:
        place.with_suffix(".md").write_text(said + "\n", "utf-8")


if __name__ == "__main__":
    main()
