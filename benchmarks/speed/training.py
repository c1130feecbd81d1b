"""Rows: fine-tuning a MiniLM, and training the light towers, against sentence-transformers' Trainer."""

from __future__ import annotations

__all__ = ["light", "minilm"]

from dataclasses import replace
from typing import Any

from benchmarks.speed.measure import Call, Comparison, Options, Reading, compare, contest

PEER = "sentence-transformers 6.2"


def _calls(model: str, options: Options, threads: int, *, batch_size: int, steps: int, warm_up: int) -> tuple:
    sizes = {"batch_size": 8, "steps": 2, "warm_up": 1} if options.quick else {
        "batch_size": batch_size, "steps": steps, "warm_up": warm_up,
    }  # fmt: skip
    common: dict[str, Any] = {"model": model, **sizes}

    def ours(precision: str = "fp32") -> Call:
        return Call(target="ours:train", arguments={**common, "precision": precision}, threads=threads)

    def theirs(bf16: bool = False, threads: int = threads) -> Call:
        return Call(target="sbert:train", arguments={**common, "bf16": bf16}, threads=threads)

    return ours, theirs, sizes


def minilm(options: Options) -> list[Comparison]:
    """Fine-tuning a 6-layer MiniLM on short texts with an in-batch loss, fp32 and bf16."""
    ours, theirs, sizes = _calls("minilm", options, options.threads, batch_size=64, steps=6, warm_up=2)
    found = contest(
        {"ours fp32": ours(), "theirs fp32": theirs(), "ours bf16": ours("bf16"), "theirs bf16": theirs(True)},
        options,
    )
    setting = {**sizes, **found["ours fp32"][0].facts, "threads": options.threads, "loss": "in-batch, both directions"}
    lines = []
    for mine, other, wanted in (("fp32", "fp32", 2.0), ("bf16", "fp32", 4.0), ("bf16", "bf16", None)):
        lines += _lines(
            "minilm",
            f"fine-tuning MiniLM, batch {sizes['batch_size']}, {mine}",
            (found[f"ours {mine}"], found[f"theirs {other}"]),
            against=f"{PEER} Trainer, {other}",
            wanted=wanted,
            setting=setting,
        )
    return lines


def light(options: Options) -> list[Comparison]:
    """Static and GRU towers: the same sub-words, sizes and first weights on both sides, no dropout."""
    lines = []
    for model, threads, peer in (
        ("static", 1, "StaticEmbedding"),
        ("gru", options.threads, "WordEmbeddings + LSTM with a GRU inside + Pooling + Dense"),
    ):
        ours, theirs, sizes = _calls(model, options, threads, batch_size=256, steps=40, warm_up=10)
        arithmetic = replace(ours(), target="ours:overhead")
        calls = {"ours": ours(), "theirs": theirs(), "arithmetic": arithmetic}
        if threads < options.threads and not options.quick:  # as its users have it: with all threads
            calls["theirs on all threads"] = theirs(threads=options.threads)
        found = contest(calls, options)
        setting = {**sizes, **found["ours"][0].facts, "threads": threads}
        for name in [name for name in calls if name.startswith("theirs")]:
            count = options.threads if name.endswith("all threads") else threads
            lines += _lines(
                "light",
                f"{model} tower, batch {sizes['batch_size']}, {threads} thread{'s' * (threads > 1)}",
                (found["ours"], found[name]),
                against=f"{PEER} Trainer, {peer}, {count} thread{'s' * (count > 1)}",
                wanted=8.0 if name == "theirs" else None,
                setting=setting,
            )
        lines += _limit(f"{model} tower, batch {sizes['batch_size']}", found, f"{PEER} Trainer, {peer}", setting)
    return lines


def _limit(what: str, found: dict[str, list[Reading]], against: str, setting: dict[str, Any]) -> list[Comparison]:
    """How much longer our step takes than its arithmetic, and how many times theirs a step of nothing else could be."""
    readings = found["arithmetic"]
    share = Comparison(
        row="light",
        what=f"{what}: what the loop adds to the arithmetic, CPU time",
        unit="%",
        ours=[float(r.facts["overhead"]) for r in readings],
        wanted=15.0,
        least=False,
        absolute=True,
        setting=setting,
    )
    limit = compare(
        "light", f"{what}: the arithmetic alone", readings, found["theirs"], unit="examples/s", against=against,
        setting=setting,
    )  # fmt: skip
    return [share, limit]


def _lines(row: str, what: str, pair: tuple[list[Reading], list[Reading]], **more: Any) -> list[Comparison]:
    """Speed, and the peak memory of the process beside it."""
    ours, theirs = pair
    speed = compare(row, what, ours, theirs, unit="examples/s", **more)
    memory = Comparison(
        row=row,
        what=f"{what}: peak memory of the process",
        unit="MB",
        ours=[r.peak_mb for r in ours],
        theirs=[r.peak_mb for r in theirs],
        against=more["against"],
        setting=more["setting"],
    )
    return [speed, memory]
