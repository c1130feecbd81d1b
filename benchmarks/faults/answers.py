"""What the doctor says of a program, what it cost, whether the patient is as before, and whether the cure works."""

from __future__ import annotations

__all__ = ["Answer", "ask"]

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.faults.cases import Case
from benchmarks.faults.harm import train
from embedfit.doctor.investigation import investigate


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A diagnosis, as far as it is judged.

    Attributes:
        verdict: healthy | ill | cannot-tell | failed.
        named: (component, code) of the issues, then of the watches, in the doctor's order.
        issues: how many of them are issues.
        seconds: of processor time.
        wall: seconds on the clock.
        steps: training steps of the experiments.
        untouched: nothing outside of the diagnosis changed: rows, random states, modes of torch, functions of torch.
        why: the doctor's sentence.
        cure: the settings that its issues prescribe.
        cured: metric of a whole run with these settings, applied unattended; None if there was nothing to apply.
    """

    verdict: str
    named: list[tuple[str, str]] = field(default_factory=list)
    issues: int = 0
    seconds: float = 0.0
    wall: float = 0.0
    steps: int = 0
    untouched: bool = True
    why: str = ""
    cure: dict[str, Any] = field(default_factory=dict)
    cured: float | None = None

    @property
    def components(self) -> list[str]:
        """Components of the issues, each once; without an issue, of the watches, unless the verdict is healthy."""
        given = self.named[: self.issues] or ([] if self.verdict == "healthy" else self.named)
        return list(dict.fromkeys(component for component, _ in given))


def ask(case: Case, budget: str, *, cure: bool = False) -> Answer:
    """Hand the program to the doctor; with `cure`, apply what it prescribes and train to the end."""
    torch.manual_seed(0)
    build = case.build()
    before = _surroundings(case)
    cpu, wall = time.process_time(), time.monotonic()
    try:
        said = investigate(build, budget=budget)
    except Exception as error:  # a stranger's program may break a doctor: that counts against the doctor
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return Answer(verdict="failed", why=f"{type(error).__name__}: {error} ({where})"[:300])
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    found = said.to_dict()
    bad = [f for f in found["findings"] if f["outcome"] in ("issue", "watch")]
    return Answer(
        verdict=found["verdict"],
        named=[(f["component"], f["code"]) for f in bad],
        issues=sum(f["outcome"] == "issue" for f in bad),
        seconds=round(cpu, 2),
        wall=round(wall, 2),
        steps=found["cost"]["steps"],
        untouched=_same(before, _surroundings(case)),
        why=found["why"][:300],
        cure=said.change,
        cured=train(said.cured(build)(seed=0)).metric if cure and said.change else None,
    )


def _surroundings(case: Case) -> list[Any]:
    """Everything that a diagnosis must leave alone."""
    rows: list[Tensor] = []
    if not case.loop:
        data = case.parts().data
        rows = [data.queries, data.documents, data.pair, data.held_queries, data.held_documents, data.held_pair]
    return [
        torch.get_rng_state(),
        torch.tensor(np.random.get_state()[1].astype(np.int64)),  # noqa: NPY002 (what a stranger's code may draw from)
        torch.tensor([float(x.double().sum()) for x in rows]),
        (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_inference_mode_enabled(),
        ),
        (F.cross_entropy, F.normalize, F.relu, torch.matmul, Tensor.backward, Tensor.detach, torch.no_grad.__enter__),
    ]


def _same(one: list[Any], two: list[Any]) -> bool:
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(one, two, strict=True))
