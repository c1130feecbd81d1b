"""What this machine does per processor second: the constants behind the plan for a cluster.

Each is measured on one thread in processor time, so that other work on the machine counts little.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import polars as pl
import torch

import embedfit as ef
from benchmarks.quality import minilm
from embedfit.engine.contrast import contrast
from embedfit.engine.pairing import Pairing
from embedfit.losses import InfoNCE, Symmetric

SEED = 0


def per_second(work: float, call: Callable[[], Any], least: float = 1.0) -> float:
    """Units of work per processor second: the best call within so many seconds, after one that is not counted."""
    call()
    best, spent = 0.0, 0.0
    while spent < least:
        began = time.process_time()
        call()
        took = time.process_time() - began
        best, spent = max(best, work / took), spent + took
    return best


def texts(count: int) -> list[str]:
    """Twelve words each, drawn from the questions of the demo data."""
    questions = pl.read_csv(ef.demo() / "questions.csv").filter(pl.col("language") == "en")["question"]
    words = " ".join(questions).split()
    drawn = np.random.default_rng(SEED).integers(len(words), size=(count, 12))
    return [" ".join(words[i] for i in row) for row in drawn.tolist()]


def of_texts() -> dict[str, float]:
    """Tokenising, and embedding without gradient, with a MiniLM of six layers."""
    model, some = ef.load(minilm()), texts(512)
    tokens = model.query.tokenize(some)
    count = int(tokens.lengths.sum())
    model.eval()
    with torch.no_grad():
        embedded = per_second(count, lambda: model.query(tokens))
    return {
        "tokens of a text": count / len(some),
        "texts tokenised": per_second(len(some), lambda: model.query.tokenize(some)),
        "tokens embedded, MiniLM-L6": embedded,
    }


def of_products(pairs: int = 4_096, dimension: int = 384) -> dict[str, float]:
    """Floating-point operations of bare matrix products, and those that the symmetric loss gets of them."""
    drawn = torch.Generator().manual_seed(SEED)
    query, document = (torch.randn(pairs, dimension, generator=drawn) for _ in range(2))
    block, operations = query[:512], 2 * 512 * pairs * dimension
    number = torch.arange(pairs)
    pairing = Pairing(positive=number, weight=torch.ones(pairs), queries=[pairs], documents=[pairs])
    loss = Symmetric(InfoNCE(0.05))
    useful = 4 * 2 * pairs * pairs * dimension
    return {
        "flop, matrix products": per_second(operations, lambda: block @ document.T),
        "flop, symmetric loss": per_second(useful, lambda: contrast(query, document, loss, pairing, way="tiled")),
    }


def of_rows(rows: int = 100_000) -> dict[str, float]:
    """Reading pairs of short texts from Parquet."""
    file = io.BytesIO()
    some = texts(rows)
    pl.DataFrame({"query": some, "positive": some[::-1]}).write_parquet(file, compression="zstd")
    return {"rows read from Parquet": per_second(rows, lambda: pl.read_parquet(io.BytesIO(file.getvalue())))}


def of_index(documents: int = 40_000, dimension: int = 384, code: int = 48, lists: int = 1_024) -> dict[str, float]:
    """Adding to and searching FAISS IVF-PQ; what a search scans is made as long as in the plan."""
    faiss.omp_set_num_threads(1)
    drawn = np.random.default_rng(SEED)
    rows = drawn.standard_normal((documents, dimension), dtype=np.float32)
    faiss.normalize_L2(rows)
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dimension), dimension, lists, code, 8, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    index.nprobe = lists
    query = rows[:32]
    assigned = per_second(2 * 512 * lists * dimension, lambda: index.quantizer.search(rows[:512], 1))
    return {
        "vectors added, IVF-PQ": per_second(4_096, lambda: index.sa_encode(rows[:4_096])),
        "flop, search for the nearest list": assigned,
        "codes scanned, IVF-PQ": per_second(len(query) * documents, lambda: index.search(query, 100)),
    }


def measure() -> dict[str, float]:
    """All constants, per processor second unless the name says otherwise."""
    torch.set_num_threads(1)
    return {**of_texts(), **of_products(), **of_rows(), **of_index()}


def keep(path: Path) -> dict[str, float]:
    """Measure and write."""
    found = {name: float(f"{value:.3g}") for name, value in measure().items()}
    machine = {"processor": torch.cpu.get_capabilities().get("cpu_name", ""), "torch": torch.__version__}
    path.write_text(json.dumps({"machine": machine, "constants": found}, indent=1) + "\n", "utf-8")
    return found
