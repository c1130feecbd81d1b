"""What training on a cluster exchanges, holds and takes, worked out on paper.

    python -m benchmarks.scaling             measures this machine, writes benchmarks/results/scaling.{json,md}
    python -m benchmarks.scaling --kept      with the constants that were measured last

The collectives of a step are walked rank by rank (`benchmarks.ring`), with the closed formula beside the count.
Bandwidths and GPU rates are assumptions, named in `PAPER` and in the towers; what one processor does is measured
(`benchmarks.constants`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ring import Cluster, Traffic, all_gather, all_reduce, even, reduce_scatter, rotation

RESULTS = Path(__file__).parent / "results"
FLOAT = 4  # bytes; embeddings and their gradients travel in fp32
TILES = 2 * 512 * 512  # numbers of a tile of scores and of its gradient
VECTORS = 50  # numbers held per pair of the whole batch: what rows and columns come to, in fp64, with derivatives


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Assumptions about a cluster of GPUs; none of them is measured here.

    Attributes:
        cluster: the ranks and their links.
        products: floating-point operations per second of large bf16 matrix products.
    """

    cluster: Cluster
    products: float


PAPER = Paper(
    cluster=Cluster(ranks=64, per_machine=8, inside=300e9, between=40e9, latency=10e-6),
    products=600e12,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """An encoder.

    Attributes:
        parameters: all of them.
        per_token: those that a token is multiplied with.
        dimension: of an embedding.
        rate: floating-point operations per second and GPU while training; an assumption, lower for narrow layers.
    """

    name: str
    parameters: float
    per_token: float
    dimension: int
    rate: float


MINILM = Tower(name="MiniLM, 6 layers", parameters=22.7e6, per_token=10.6e6, dimension=384, rate=80e12)
BERT = Tower(name="BERT-base", parameters=109.5e6, per_token=85.1e6, dimension=768, rate=200e12)
QWEN = Tower(name="a decoder of 0.6 billion", parameters=596e6, per_token=440e6, dimension=1024, rate=300e12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How the embeddings of a step meet.

    Attributes:
        walk: collectives for n pairs of d dimensions, played.
        formula: bytes that a rank sends, in closed form for equal parts: (n, d, ranks).
        products: matrix products of n/ranks x n x d.
        held: bytes of embeddings, gradients and scores on a rank: (n, d, ranks).
    """

    name: str
    walk: Callable[[Cluster, int, int], Traffic]
    formula: Callable[[int, int, int], float]
    products: int
    held: Callable[[int, int, int], float]


def _rows(cluster: Cluster, pairs: int, numbers: int) -> list[int]:
    """Bytes of each rank's part of so many numbers per pair."""
    return [part * numbers * FLOAT for part in even(pairs, cluster.ranks)]


def documents_gathered(cluster: Cluster, pairs: int, dimension: int) -> Traffic:
    """Documents to all; peaks and sums of the columns; four fp64 numbers of each row; gradients of documents."""
    return (
        all_gather(cluster, _rows(cluster, pairs, dimension))
        + all_reduce(cluster, pairs * FLOAT)
        + all_reduce(cluster, pairs * FLOAT)
        + all_gather(cluster, _rows(cluster, pairs, 8))
        + reduce_scatter(cluster, _rows(cluster, pairs, dimension))
    )


def both_gathered(cluster: Cluster, pairs: int, dimension: int) -> Traffic:
    """The same, and queries to all."""
    return all_gather(cluster, _rows(cluster, pairs, dimension)) + documents_gathered(cluster, pairs, dimension)


def ring(cluster: Cluster, pairs: int, dimension: int) -> Traffic:
    """Documents go round with what their columns come to, four fp64 numbers; to all go those, and as many of each row;
    then documents go round with their gradients. Documents themselves need not come home: their owner has them."""
    blocks = _rows(cluster, pairs, dimension)
    first = rotation(cluster, blocks, home=False) + rotation(cluster, _rows(cluster, pairs, 8))
    between = all_gather(cluster, _rows(cluster, pairs, 8)) + all_gather(cluster, _rows(cluster, pairs, 6))
    return first + between + rotation(cluster, blocks, home=False) + rotation(cluster, blocks)


def local_loss(cluster: Cluster, pairs: int, dimension: int) -> Traffic:
    """Both sides to all, gradients of both back."""
    one = all_gather(cluster, _rows(cluster, pairs, dimension))
    back = reduce_scatter(cluster, _rows(cluster, pairs, dimension))
    return one + one + back + back


SCHEMES = (
    Scheme(
        name="embedfit",
        walk=both_gathered,
        formula=lambda n, d, w: (w - 1) / w * n * (3 * d + 12) * FLOAT,
        products=4,
        held=lambda n, d, w: FLOAT * (3 * n * d + 2 * n / w * d + TILES + VECTORS * n),
    ),
    Scheme(
        name="the same, queries not gathered",
        walk=documents_gathered,
        formula=lambda n, d, w: (w - 1) / w * n * (2 * d + 12) * FLOAT,
        products=4,
        held=lambda n, d, w: FLOAT * (2 * n * d + 2 * n / w * d + TILES + VECTORS * n),
    ),
    Scheme(
        name="ring",
        walk=ring,
        formula=lambda n, d, w: n * (d + 8 + (w - 1) / w * (2 * d + 14)) * FLOAT,
        products=4,
        held=lambda n, d, w: FLOAT * (6 * n / w * d + TILES + VECTORS * n),
    ),
    Scheme(
        name="open_clip, local_loss and gather_with_grad",
        walk=local_loss,
        formula=lambda n, d, w: (w - 1) / w * 4 * n * d * FLOAT,
        products=6,
        held=lambda n, d, w: FLOAT * (4 * n * d + 4 * n / w * n),
    ),
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def si(value: float, unit: str) -> str:
    """A number to three digits with its prefix."""
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m")):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value / 1e-6:.3g} u{unit}"


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    for size, unit in ((86_400.0, "days"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def exchange(paper: Paper, dimension: int = 768) -> str:
    """What a step exchanges, by scheme and batch."""
    rows = []
    for pairs in (4_096, 32_768, 262_144, 1_048_576):
        for scheme in SCHEMES:
            walked = scheme.walk(paper.cluster, pairs, dimension)
            formula = scheme.formula(pairs, dimension, paper.cluster.ranks)
            flop = scheme.products * 2 * pairs / paper.cluster.ranks * pairs * dimension
            rows.append(
                [
                    f"{pairs:,}",
                    scheme.name,
                    si(max(walked.sent), "B"),
                    si(max(walked.received), "B"),
                    si(formula, "B"),
                    duration(walked.seconds),
                    duration(flop / paper.products),
                    si(scheme.held(pairs, dimension, paper.cluster.ranks), "B"),
                ]
            )
    head = ["pairs", "scheme", "sent", "received", "formula", "exchange", "loss products", "held"]
    return table(head, rows)


def step_seconds(
    paper: Paper, tower: Tower, pairs: int, tokens: float, scheme: Scheme = SCHEMES[0]
) -> tuple[float, float, float, float]:
    """Towers, loss, exchange of embeddings and sum of gradients of a step; nothing overlaps.

    Two texts of a pair; forward and backward are three forwards, and one more where graphs are not kept.
    """
    ranks = paper.cluster.ranks
    towers = pairs / ranks * 2 * tokens * 2 * tower.per_token * 4 / tower.rate
    loss = scheme.products * 2 * pairs / ranks * pairs * tower.dimension / paper.products
    met = scheme.walk(paper.cluster, pairs, tower.dimension).seconds
    return towers, loss, met, all_reduce(paper.cluster, int(tower.parameters) * FLOAT).seconds


def steps(paper: Paper, pairs: float = 1e9, tokens: float = 32) -> str:
    """A pass over all pairs, by tower and batch."""
    rows = []
    for tower in (MINILM, BERT, QWEN):
        for batch in (4_096, 32_768, 262_144):
            parts = step_seconds(paper, tower, batch, tokens)
            share = (parts[2] + parts[3]) / sum(parts)
            whole = sum(parts) * pairs / batch
            rows.append([tower.name, f"{batch:,}", *map(duration, parts), f"{share:.0%}", duration(whole)])
    head = [
        "tower",
        "pairs of a step",
        "towers",
        "loss",
        "embeddings",
        "gradients",
        "exchange",
        "a pass over all pairs",
    ]
    return table(head, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The size of the whole."""

    pairs: float = 1e9
    documents: float = 1e8
    tokens: float = 32
    characters: float = 120
    dimension: int = 384
    code: int = 48
    lists: int = 1 << 18
    visited: int = 64


def storage(task: Task, ranks: int) -> str:
    """What lies where."""
    texts = 2 * task.pairs
    entries: list[tuple[str, float, str]] = [
        ("texts of all pairs, as characters", texts * task.characters, "sharded Parquet, compressed to a third or so"),
        ("their token ids (int32)", texts * task.tokens * 4, f"a file per shard, memory-mapped; 1/{ranks} per rank"),
        ("known pairs, one 64-bit key each", task.pairs * 8, f"by hash of the query; 1/{ranks} per rank"),
        ("embeddings of the documents, fp32", task.documents * task.dimension * 4, "Parquet shards on disk"),
        ("the same as PQ codes with 64-bit ids", task.documents * (task.code + 8), "memory of one search machine"),
        ("centroids of the lists, fp32", task.lists * task.dimension * 4.0, "every search machine"),
        ("MiniLM with gradient and AdamW, fp32", MINILM.parameters * 16, "every rank"),
        ("0.6 billion parameters, the same", QWEN.parameters * 16, f"every rank; sharded 1/{ranks}"),
        ("id table, 10^9 rows of 64 with AdamW", 1e9 * 64 * 12, f"sharded by row, 1/{ranks} per rank"),
    ]
    return table(["what", "size", "where"], [[what, si(size, "B"), where] for what, size, where in entries])


def work(task: Task, constants: Mapping[str, float], cores: int = 512) -> str:
    """Work around training from the constants of one processor."""
    texts = 2 * task.pairs
    assigning = 2 * task.lists * task.dimension / constants["flop, search for the nearest list"]
    adding = task.documents * (1 / constants["vectors added, IVF-PQ"] + assigning)
    scanned = task.documents * task.visited / task.lists
    search = assigning + scanned / constants["codes scanned, IVF-PQ"]
    entries = [
        ("read the pairs from Parquet", task.pairs / constants["rows read from Parquet"]),
        ("tokenise both texts of every pair", texts / constants["texts tokenised"]),
        (
            "embed the documents, MiniLM-L6 in fp32",
            task.documents * task.tokens / constants["tokens embedded, MiniLM-L6"],
        ),
        (f"train {task.lists:,} lists on 39 rows each, 10 rounds", 10 * 39 * task.lists * assigning),
        ("add the documents to the index", adding),
        (f"one search of {task.visited} lists", search),
        ("mine hard negatives, one search per document", task.documents * search),
    ]
    rows = [[what, duration(seconds), duration(seconds / cores)] for what, seconds in entries]
    rows[5][2] = ""
    gpu = task.documents * task.tokens * 2 * MINILM.per_token / MINILM.rate / PAPER.cluster.ranks
    rows.insert(3, ["the same on the GPUs of the paper", "", duration(gpu)])
    return table(["work", "one processor", f"{cores} processors"], rows)


def measured(constants: Mapping[str, float]) -> str:
    """The constants."""
    return table(["per processor second", ""], [[name, si(value, "")] for name, value in constants.items()])


def sections(constants: Mapping[str, float], paper: Paper = PAPER, task: Task = Task()) -> dict[str, str]:
    """Every table by its name."""
    return {
        "exchange": exchange(paper),
        "steps": steps(paper, task.pairs, task.tokens),
        "storage": storage(task, paper.cluster.ranks),
        "measured": measured(constants),
        "work": work(task, constants),
    }


def main() -> None:
    """Measure, walk, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kept", action="store_true", help="with the constants that were measured last")
    path = RESULTS / "scaling.json"
    if parser.parse_args().kept:
        constants = json.loads(path.read_text("utf-8"))["constants"]
    else:
        from benchmarks import constants as of_this_machine

        constants = of_this_machine.keep(path)
    text = "\n\n".join(f"### {name}\n\n{found}" for name, found in sections(constants).items())
    path.with_suffix(".md").write_text(f"Printed by `python -m benchmarks.scaling`.\n\n{text}\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
