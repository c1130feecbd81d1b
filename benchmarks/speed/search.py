"""Row: exact search against FAISS itself."""

from __future__ import annotations

__all__ = ["faiss_flat", "ours", "rows"]

from typing import TYPE_CHECKING, Any

from benchmarks.speed.measure import Call, Comparison, Options, contest

if TYPE_CHECKING:
    import numpy as np

K = 10


def rows(options: Options) -> list[Comparison]:
    """Top 10 of 100,000 documents for 10,000 queries, 128 dimensions."""
    sizes = (100, 1_000, 16) if options.quick else (10_000, 100_000, 128)
    arguments = dict(zip(("queries", "documents", "dimension"), sizes, strict=True))
    names = {"ours": "search:ours", "theirs": "search:faiss_flat"}
    calls = {n: Call(target=t, arguments=arguments, threads=options.threads) for n, t in names.items()}
    found = contest(calls, options)
    answers = {r.facts["answers"] for readings in found.values() for r in readings}
    if len(answers) != 1:
        raise RuntimeError(f"the searches found different documents: {answers}")
    shape = " x ".join(f"{size:,}" for size in sizes)
    common: dict[str, Any] = {
        "row": "search", "against": "FAISS IndexFlatIP", "least": False,
        "setting": {**arguments, "k": K, "threads": options.threads},
    }  # fmt: skip
    cpu = [a.cpu / b.cpu for a, b in zip(found["ours"], found["theirs"], strict=True)]
    walls = {n: [r.wall for r in readings] for n, readings in found.items()}
    extra = {n: [r.extra_mb for r in readings] for n, readings in found.items()}
    what = f"exact top-{K} search, {shape}"
    return [
        Comparison(what=what, unit="s", **walls, wanted=1.1, cpu=cpu, **common),
        Comparison(what=f"{what}: memory of the search", unit="MB", **extra, **common),
    ]


def _vectors(queries: int, documents: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    draw = np.random.default_rng(0)
    made = [draw.standard_normal((count, dimension), dtype=np.float32) for count in (queries, documents)]
    query, document = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in made)
    return query, document


def ours(queries: int, documents: int, dimension: int) -> dict[str, Any]:
    """`embedfit.evaluate.index`."""
    from benchmarks.speed.child import Clock
    from embedfit.evaluate import index

    query, document = _vectors(queries, documents, dimension)
    built = index.build(document, [str(i) for i in range(documents)])
    index.search(built, query[:64], K)
    clock = Clock()
    clock.start()
    _, found = index.search(built, query, K)
    return clock.stop(queries, answers=int(found.sum()))


def faiss_flat(queries: int, documents: int, dimension: int) -> dict[str, Any]:
    """FAISS, called directly."""
    import faiss

    from benchmarks.speed.child import Clock

    query, document = _vectors(queries, documents, dimension)
    built = faiss.IndexFlatIP(dimension)
    built.add(document)
    built.search(query[:64], K)
    clock = Clock()
    clock.start()
    _, found = built.search(query, K)
    return clock.stop(queries, answers=int(found.sum()))
