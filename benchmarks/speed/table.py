"""The results: a JSON file with every reading, a Markdown table for people."""

from __future__ import annotations

__all__ = ["keep", "machine", "markdown"]

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.measure import Comparison

PACKAGES = ("torch", "sentence-transformers", "transformers", "accelerate", "faiss-cpu", "polars")
HEAD = ("row", "what", "ours", "theirs", "ours / theirs (rounds)", "in CPU time", "wanted", "met", "against")


def machine() -> dict[str, Any]:
    """Processor, memory, versions."""
    facts = {}
    for name, key in (("cpuinfo", "model name"), ("meminfo", "MemTotal")):
        path = Path("/proc") / name
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        facts[key] = next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
    kib = facts["MemTotal"].removesuffix(" kB")
    flags = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").is_file() else ""
    return {
        "processor": facts["model name"] or platform.processor(),
        "cores": os.cpu_count(),
        "bf16": "avx512_bf16" in flags or "amx_bf16" in flags,
        "memory_gb": round(int(kib) / (1 << 20)) if kib else None,
        "python": platform.python_version(),
        **{package.name: package.version for name in PACKAGES for package in metadata.distributions(name=name)},
    }


def keep(path: Path, lines: Sequence[Comparison], where: dict[str, Any], order: Sequence[str]) -> None:
    """Put the rows that were measured in the place of the same rows of before.

    Rows of another machine, or of other versions, are dropped: side by side they would mislead.
    """
    measured = {line.row for line in lines}
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {"machine": where, "lines": []}
    old = [Comparison(**line) for line in before["lines"]] if before["machine"] == where else []
    kept = sorted([*(line for line in old if line.row not in measured), *lines], key=lambda line: order.index(line.row))
    path.parent.mkdir(exist_ok=True)
    document = {"machine": where, "lines": [asdict(line) for line in kept]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    path.with_suffix(".md").write_text(markdown(kept, where), "utf-8")


def markdown(lines: Sequence[Comparison], where: dict[str, Any]) -> str:
    """The table, and below it what each row was measured on."""
    versions = ", ".join(f"{name} {where[name]}" for name in PACKAGES if name in where)
    rows = [[line.row, line.what, *_cells(line)] for line in lines]
    settings = {(line.row, _short(line)): line.setting for line in lines if line.setting}
    return "\n".join(
        [
            f"Printed by `python -m benchmarks.speed` on {where['cores']} cores of {where['processor']} "
            f"({'with' if where['bf16'] else 'without'} bf16), {where['memory_gb']} GB; Python {where['python']}, "
            f"{versions}.",
            "",
            "Medians over rounds in which all contestants of a row take turns, each in a fresh process; in brackets "
            "the smallest and the largest ratio of a round.",
            "",
            _row(HEAD),
            "|" + "---|" * len(HEAD),
            *map(_row, rows),
            "",
            *(f"- {row}, {what}: {_said(setting)}" for (row, what), setting in settings.items()),
            "",
        ]
    )


def _cells(line: Comparison) -> list[str]:
    ratio, spread, met = line.ratio(), line.spread(), line.met()
    bound = "" if line.wanted is None else f"{'>=' if line.least else '<='} {_number(line.wanted)}"
    if bound and line.absolute:
        bound += f" {line.unit}"
    return [
        f"{_number(median(line.ours))} {line.unit}",
        f"{_number(median(line.theirs))} {line.unit}" if line.theirs else "",
        f"{ratio:.2f} ({spread[0]:.2f} to {spread[1]:.2f})" if ratio is not None and spread is not None else "",
        f"{median(line.cpu):.2f}" if line.cpu else "",
        bound,
        "" if met is None else "yes" if met else "no",
        line.against,
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _short(line: Comparison) -> str:
    return line.what.partition(":")[0]


def _said(setting: Any) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in setting.items())


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
