"""Row: what a table of ten million pairs takes to be read and looked at, before any training."""

from __future__ import annotations

__all__ = ["generate", "look", "rows"]

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import Call, Comparison, Options, contest

ROWS = 10_000_000
PART = 1_000_000


def rows(options: Options) -> list[Comparison]:
    """A generated log of clicks: few frequent queries, many rare ones, in one CSV file."""
    count = 20_000 if options.quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "clicks.csv")
        made = options.play("audit:generate", path=path, count=count)
        call = Call(target="audit:look", arguments={"path": path}, threads=options.threads)
        found = contest({"ours": call}, replace(options, rounds=min(options.rounds, 3)))["ours"]
    if any(r.work != count for r in found):
        raise RuntimeError(f"the audit saw {[r.work for r in found]} rows of {count}")
    setting = {"rows": f"{count:,}", **made.facts, **found[0].facts, "threads": options.threads}
    what = f"audit of {count / 1e6:g} M pairs, read from CSV"
    common = {"row": "audit", "least": False, "absolute": True, "setting": setting}
    return [
        Comparison(what=what, unit="s", ours=[r.wall for r in found], wanted=60.0, **common),
        Comparison(what=f"{what}: CPU time", unit="s", ours=[r.cpu for r in found], row="audit", setting=setting),
        Comparison(
            what=f"{what}: peak memory of the process", unit="MB", ours=[r.peak_mb for r in found], wanted=4096.0,
            **common,
        ),
    ]  # fmt: skip


def generate(path: str, count: int) -> dict[str, Any]:
    """Write the file: the real short texts, varied by a word and a number, in Zipf-like frequencies."""
    import numpy as np
    import polars as pl

    from benchmarks.speed.child import Clock
    from benchmarks.speed.texts import pool

    texts, source = pool()
    draw = np.random.default_rng(0)
    words = sorted({word for text in texts for word in text.split() if word.isalpha()})
    texts_column, words_column = pl.Series(texts), pl.Series(words)

    def column(kinds: int, size: int, kind: int) -> pl.Series:
        # the cube of a uniform number: the first percent of the kinds takes a fifth of the rows
        number = (kinds * draw.random(size) ** 3).astype(np.int64)
        text = texts_column.gather(number % len(texts))
        word = words_column.gather((number * 7_919 + kind) % len(words))
        return text + " " + word + " " + pl.Series(number // len(texts)).cast(pl.String)

    clock = Clock()
    clock.start()
    with Path(path).open("wb") as file:
        for first in range(0, count, PART):
            size = min(PART, count - first)
            table = pl.DataFrame({"query": column(count // 5, size, 0), "positive": column(count // 10, size, 1)})
            table.write_csv(file, include_header=first == 0)
    return clock.stop(count, data=f"generated from {source}", megabytes=round(Path(path).stat().st_size / 1e6))


def look(path: str) -> dict[str, Any]:
    """Read and audit a file."""
    import embedfit as ef
    from benchmarks.speed.child import Clock

    clock = Clock()
    clock.start()
    found = ef.audit(ef.read(path))
    return clock.stop(found.facts["data.rows"], texts=found.facts["data.texts"])
