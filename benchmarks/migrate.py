"""How fast an index goes through a map, beside what the machine can copy and multiply, and in how much memory.

    python -m benchmarks.migrate                      1,000,000 vectors of 128 dimensions to 384
    python -m benchmarks.migrate --rows 50000 --to 256

Each row is run in a process of its own, so that its peak memory is its own; times are of the wall clock.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from embedfit.align import migrate
from embedfit.align.closed import Affine, as_map
from embedfit.towers.vector_map import VectorMap, load_map, save_map

BLOCK = 65_536


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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if row == "bare":
        rows, seconds = len(np.load(source, mmap_mode="r")), bare(source, out, made)
    else:
        moved = migrate(made, source, out)
        rows, seconds = moved.rows, moved.seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = out.stat().st_size / 1e9
    print(f"| {row} | {rows / seconds:,.0f} | {seconds:.1f} | {size / seconds:.2f} | {(peak - before) / 1024:,.0f} |")
    out.unlink()


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Throughput of a migration.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--of", type=int, default=128, help="dimensions of the old space")
    parser.add_argument("--to", type=int, default=384, help="dimensions of the new space")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        child(arguments.folder, arguments.row)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_index(folder / "old.npy", arguments.rows, arguments.of)
        weight = np.random.default_rng(1).standard_normal((arguments.of, arguments.to))
        made = as_map(Affine(weight=weight, bias=np.zeros(arguments.to)), "linear", unit=True)
        save_map(made, folder / "map")
        print("| output | vectors/s | seconds | GB/s written | memory above start, MB |\n|---|---|---|---|---|")
        sys.stdout.flush()
        for row in ("bare", "npy", "parquet", "faiss"):
            words = [sys.executable, "-m", "benchmarks.migrate", "--folder", name, "--row", row]
            subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
