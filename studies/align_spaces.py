"""Which spaces map onto which: banking77 in two real embedding spaces, and all view pairs of handwritten and leaves100.

    python -m studies.align_spaces                           all pairs, three seeds, writes results/align_spaces.md
    python -m studies.align_spaces --only banking77 --seeds 1 --rows 2000 --dry

For each ordered pair of spaces: recall@1 of the right target by each kind of map on held-out items, the verdict, and
the map that was chosen; the same pairs shuffled must be refused. On banking77 the map is learned on the training texts;
the test texts search the migrated index of all texts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from benchmarks.datasets import data_folder
from jaxtyping import Float

from embedfit.align import Alignment, align
from embedfit.data.vectors import Matched
from embedfit.errors import DataError

RESULTS = Path(__file__).parent / "results"
SETS = ("banking77", "leaves100", "handwritten")


def spaces(name: str) -> Iterator[tuple[str, Float[np.ndarray, "n e"]]]:
    """The spaces of a data set by name."""
    file = "banking77_minilm384_potion128" if name == "banking77" else name
    with np.load(data_folder() / "embeddings" / f"{file}.npz") as arrays:
        for key in arrays:
            if key not in ("label", "is_test"):
                yield key, arrays[key].astype(np.float32)


def pairs_of(source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"]) -> Matched:
    """Rows side by side."""
    rows = np.arange(len(source))
    names = tuple(f"row {i}" for i in rows)
    return Matched(source=source, target=target, names=names, rows=rows, source_rows=len(rows))


def one(source: Float[np.ndarray, "n a"], target: Float[np.ndarray, "n e"], seed: int) -> dict[str, Any]:
    """The figures of a pair of spaces, and whether the shuffled pair is refused."""
    found = align(pairs_of(source, target), seed=seed)
    shuffled = target[np.random.default_rng(seed).permutation(len(target))]
    control = align(pairs_of(source, shuffled), seed=seed)
    return {**figures(found), "refused": not control.exists}


def figures(found: Alignment) -> dict[str, Any]:
    """What the table shows of an alignment."""
    best = {t.kind: t.quality.recall(1) for t in found.exam.trials}  # of the ranks of low-rank, the highest
    fit = found.fit
    return {
        **best,
        "r2": max(t.r2 for t in found.exam.trials),
        "exists": found.exists,
        "kind": fit.kind if fit else "none",
        "fit": fit.quality.recall(10) if fit else float("nan"),
        "findings": ", ".join(f.name for f in found.findings if f.severity != "info"),
    }


def line(name: str, rows: list[dict[str, Any]]) -> str:
    """A row of the table: means over the seeds, with their range."""

    def shown(key: str) -> str:
        values = [row[key] for row in rows if key in row]
        if not values:
            return ""
        return f"{mean(values):.3f}" + (f" ({min(values):.3f}..{max(values):.3f})" if len(values) > 1 else "")

    kinds = ("orthogonal", "low-rank", "linear", "mlp", "r2", "fit")
    cells = [name, *(shown(kind) for kind in kinds), "/".join(sorted({row["kind"] for row in rows}))]
    yes = sum(row["exists"] for row in rows)
    refused = sum(row["refused"] for row in rows)
    cells += [f"{yes} of {len(rows)}", f"{refused} of {len(rows)}", rows[0]["findings"]]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| spaces | orthogonal R@1 | low-rank R@1 | linear R@1 | mlp R@1 | best R2 | chosen R@10 | chosen | mapping | "
    "shuffled refused | findings |\n" + "|---" * 11 + "|"
)


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description="Which spaces map onto which.")
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000, help="items of a data set, at most")
    parser.add_argument("--most", type=int, default=100, help="pairs of spaces of a data set, at most")
    parser.add_argument("--dry", action="store_true", help="print only")
    arguments = parser.parse_args()
    lines = [HEAD]
    print(HEAD, flush=True)
    for name in arguments.only:
        by_name = dict(spaces(name))
        order = np.random.default_rng(0).permutation(len(next(iter(by_name.values()))))[: arguments.rows]
        for a, b in list(permutations(by_name, 2))[: arguments.most]:
            try:
                rows = [one(by_name[a][order], by_name[b][order], seed) for seed in range(arguments.seeds)]
            except DataError as error:
                print(f"{name}: {a} -> {b}: {error.message}")
                continue
            lines.append(line(f"{name}: {a} -> {b}", rows))
            print(lines[-1], flush=True)
    if not arguments.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "align_spaces.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
