"""How fast an index goes through a map, beside what the machine can copy and multiply, and in how much memory.

    python -m benchmarks.migrate                      1,000,000 vectors of 128 dimensions to 384, writes
                                                      benchmarks/results/migrate.md
    python -m benchmarks.migrate --rows 50000 --to 256 --dry

Each row is run in a process of its own, so that its peak memory is its own; pages of the source that the system keeps
mapped count as held, and `bare` keeps all of them. Times are of the wall clock, and the best of three runs, the
contestants taking turns. `bare` is the product and the writing alone, with numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.speed.child import Clock
from embedfit.align import migrate
from embedfit.align.closed import Affine, as_map
from embedfit.towers.vector_map import VectorMap, load_map, save_map

RESULTS = Path(__file__).parent / "results"
BLOCK = 65_536
OUTPUTS, RUNS = ("bare", "npy", "parquet", "faiss"), 3


def write_index(path: Path, rows: int, size: int) -> None:
    """Random unit rows, written block by block."""
    rng = np.random.default_rng(0)
    out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, size))
    for start in range(0, rows, BLOCK):
        block = rng.standard_normal((min(BLOCK, rows - start), size)).astype(np.float32)
        out[start : start + BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    out.flush()


def bare(source: Path, out: Path, vector_map: VectorMap) -> float:
    """Seconds of the products and the writing alone, with numpy, block by block: what cannot be avoided."""
    weight = vector_map.linear.weight.detach().numpy().T.copy()
    rows = np.load(source, mmap_mode="r")
    began = time.perf_counter()
    with out.open("wb") as file:
        for start in range(0, len(rows), BLOCK):
            file.write((rows[start : start + BLOCK] @ weight).data)
    return time.perf_counter() - began


def child(folder: Path, row: str) -> None:
    """One row of the table, in this process."""
    source, out = folder / "old.npy", folder / f"new.{row}"
    made = load_map(folder / "map")
    clock = Clock()
    clock.start()
    seconds = bare(source, out, made) if row == "bare" else migrate(made, source, out).seconds
    memory = clock.stop(1)["extra_mb"]
    print(json.dumps({"seconds": seconds, "bytes": out.stat().st_size, "memory": memory}))
    out.unlink()


def table(found: Mapping[str, Sequence[Mapping[str, float]]], rows: int) -> str:
    """The results as Markdown."""
    lines = ["| output | vectors/s | of bare | seconds | GB/s written | memory above start, MB |", "|---" * 6 + "|"]
    best = {name: min(run["seconds"] for run in runs) for name, runs in found.items()}
    for name, runs in found.items():
        seconds, memory = best[name], max(run["memory"] for run in runs)
        lines.append(
            f"| {name} | {rows / seconds:,.0f} | {best['bare'] / seconds:.2f} | {seconds:.1f} | "
            f"{runs[0]['bytes'] / 1e9 / seconds:.2f} | {memory:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Throughput of a migration.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--of", type=int, default=128, help="dimensions of the old space")
    parser.add_argument("--to", type=int, default=384, help="dimensions of the new space")
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.row:
        child(asked.folder, asked.row)
        return
    found: dict[str, list[dict[str, float]]] = {row: [] for row in OUTPUTS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_index(folder / "old.npy", asked.rows, asked.of)
        weight = np.random.default_rng(1).standard_normal((asked.of, asked.to))
        made = as_map(Affine(weight=weight, bias=np.zeros(asked.to)), "linear", unit=True)
        save_map(made, folder / "map")
        for row in OUTPUTS * RUNS:
            words = [sys.executable, "-m", "benchmarks.migrate", "--folder", name, "--row", row]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            found[row].append(json.loads(done.stdout))
            print(row, done.stdout.strip(), flush=True)
    threads = os.environ.get("OMP_NUM_THREADS", f"{os.cpu_count()} (one per core)")
    head = f"Printed by `python -m benchmarks.migrate`: {asked.rows:,} vectors of {asked.of} dimensions to {asked.to}, "
    said = f"{head}threads: {threads}.\n\n{table(found, asked.rows)}\n"
    print(said)
    if not asked.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "migrate.md").write_text(said, "utf-8")


if __name__ == "__main__":
    main()
