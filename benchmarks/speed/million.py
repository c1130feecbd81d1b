"""Row: search and evaluation among a million documents, of embeddings that are generated into a file."""

from __future__ import annotations

__all__ = ["evaluate", "generate", "rows", "search"]

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed.measure import Comparison, Options

if TYPE_CHECKING:
    import numpy as np

DOCUMENTS, DIMENSION, QUERIES = 1_000_000, 256, 1_000
K = 10
PART = 50_000


def rows(options: Options) -> list[Comparison]:
    """Index, recall against exact search, memory; and a whole evaluation, which is exact."""
    sizes = (12_000, 16, 50) if options.quick else (DOCUMENTS, DIMENSION, QUERIES)
    arguments = dict(zip(("documents", "dimension", "queries"), sizes, strict=True))
    lines: list[Comparison] = []
    with tempfile.TemporaryDirectory() as folder:
        options.play("million:generate", folder=folder, **arguments)
        for kind in ("flat", "ivf", "pq"):
            found = options.play("million:search", folder=folder, kind=kind)
            what = f"{arguments['documents']:,} x {arguments['dimension']}, {kind}"
            facts = dict(found.facts)
            build, alone, recall = (facts.pop(name) for name in ("build", "alone", "recall"))
            setting = {**arguments, **facts, "threads": options.threads}
            common: dict[str, Any] = {"row": "million", "least": False, "absolute": True, "setting": setting}

            lines += [
                Comparison(what=f"{what}: CPU time, build", unit="s", ours=[build], **common),
                Comparison(what=f"{what}: CPU time, a query", unit="ms", ours=[1e3 * alone], **common),
                Comparison(
                    what=f"{what}: CPU time, a query among {arguments['queries']:,}", unit="ms",
                    ours=[1e3 * found.cpu / found.work], **common,
                ),
                Comparison(what=f"{what}: peak memory", unit="MB", ours=[found.peak_mb], wanted=4096.0, **common),
                Comparison(
                    what=f"{what}: recall@{K}", unit="", ours=[recall], wanted=0.95, **common | {"least": True}
                ),
            ]  # fmt: skip
        found = options.play("million:evaluate", folder=folder)
    what = f"evaluation of {arguments['queries']:,} queries among {arguments['documents']:,} documents, exact"
    common = {"row": "million", "least": False, "absolute": True, "setting": {**arguments, **found.facts}}
    lines += [
        Comparison(what=f"{what}: CPU time", unit="s", ours=[found.cpu], **common),
        Comparison(what=f"{what}: peak memory", unit="MB", ours=[found.peak_mb], wanted=8192.0, **common),
    ]
    return lines


def generate(folder: str, documents: int, dimension: int, queries: int) -> dict[str, Any]:
    """Unit rows in clouds of about fifty, whose numbers lie in directions of decreasing weight, as embeddings do."""
    import numpy as np

    from benchmarks.speed.child import Clock

    draw = np.random.default_rng(0)
    weight = (1 + np.arange(dimension)) ** -0.5
    middle = (draw.standard_normal((max(1, documents // 50), dimension)) * weight).astype(np.float32)

    def some(count: int) -> np.ndarray:
        made = middle[draw.integers(len(middle), size=count)]
        made = made + 0.6 * (draw.standard_normal((count, dimension), dtype=np.float32) * weight).astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    clock = Clock()
    clock.start()
    shape = (documents, dimension)
    file = np.lib.format.open_memmap(Path(folder) / "documents.npy", mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, documents, PART):
        file[start : start + PART] = some(min(PART, documents - start))
    file.flush()
    np.save(Path(folder) / "queries.npy", some(queries))
    return clock.stop(documents)


def search(folder: str, kind: str) -> dict[str, Any]:
    """Build an index from the file, and look up other queries than those its recall was measured with."""
    import time

    import faiss
    import numpy as np

    from benchmarks.speed.child import Clock
    from embedfit.evaluate import index
    from embedfit.neighbours import products, top_k

    faiss.omp_set_num_threads(1)
    document = np.load(Path(folder) / "documents.npy", mmap_mode="r")
    query = np.load(Path(folder) / "queries.npy")
    began = time.process_time()
    made = index.build(document, [str(i) for i in range(len(document))], kind=kind)
    build = time.process_time() - began
    clock = Clock()
    clock.start()
    _, found = index.search(made, query, K)
    reading = clock.stop(len(query))
    began = time.process_time()
    for one in query[:30]:
        index.search(made, one[None], K)
    alone = (time.process_time() - began) / len(query[:30])
    bar = top_k(query, document, K)[0][:, -1]
    recall = float((products(query, document, np.maximum(found, 0)) >= bar[:, None])[found >= 0].sum() / found.size)
    facts = {
        "index": str(made),
        "build": build,
        "alone": alone,
        "recall": recall,
        "memory": f"{len(faiss.serialize_index(made.vectors.engine)) / 1e6:,.0f} MB",
    }
    return {**reading, "facts": facts}


def evaluate(folder: str) -> dict[str, Any]:
    """The metrics of a collection whose judged document is the nearest of each query, the embeddings at hand."""
    import numpy as np
    import polars as pl

    from benchmarks.speed.child import Clock
    from embedfit.evaluate import evaluate_bare
    from embedfit.neighbours import top_k
    from embedfit.pairs import Pairs

    document = np.load(Path(folder) / "documents.npy", mmap_mode="r")
    query = np.load(Path(folder) / "queries.npy")
    near = top_k(query, document, 1)[1][:, 0]
    names = pl.Series([f"d{i}" for i in range(len(document))])
    asked = [f"q{i}" for i in range(len(query))]
    table = pl.DataFrame(
        {"query_id": asked, "query": asked, "document_id": names.gather(near), "relevance": np.ones(len(near))}
    )
    pairs = Pairs(kind="collection", table=table, corpus=pl.DataFrame({"document_id": names, "document": names}))
    clock = Clock()
    clock.start()
    found = evaluate_bare(
        lambda texts: query[[int(text[1:]) for text in texts]],
        lambda texts: document[[int(text[1:]) for text in texts]],
        pairs,
    )
    return clock.stop(len(query), recall=found.values["recall@1"])
