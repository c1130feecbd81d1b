"""What the doctor says of a program, what it cost, whether the patient is as before, and whether the cure works."""

from __future__ import annotations

__all__ = ["Answer", "ask"]

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.faults.cases import Case
from benchmarks.faults.harm import train
from embedfit.doctor.investigation import investigate
from embedfit.errors import EmbedfitError


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
        cure: the settings of the first prescription.
        cured: metric of a whole run after the prescription was applied unattended; None if there was nothing to apply.
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
        with patch.object(
            time, "perf_counter", time.process_time
        ):  # on a shared machine a budget is of work, not of waiting
            found = investigate(build, budget=budget).to_dict()
    except Exception as error:  # a stranger's program may break a doctor: that counts against the doctor
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return Answer(verdict="failed", why=f"{type(error).__name__}: {error} ({where})"[:300])
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    bad = [f for f in found["findings"] if f["outcome"] in ("issue", "watch")]
    change = next((p["change"] for f in bad for p in f["prescription"][:1] if p["change"]), {})
    return Answer(
        verdict=found["verdict"],
        named=[(f["component"], f["code"]) for f in bad],
        issues=sum(f["outcome"] == "issue" for f in bad),
        seconds=round(cpu, 2),
        wall=round(wall, 2),
        steps=found["cost"]["steps"],
        untouched=_same(before, _surroundings(case)),
        why=found["why"][:300],
        cure=change,
        cured=_tried(build, change) if cure else None,
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


def _tried(build: Callable[..., Any], change: Mapping[str, Any]) -> float | None:
    """The metric of a whole run with the settings of the prescription in place."""
    program = build(seed=0)
    try:
        applied = [_APPLIES[key](program, value) for key, value in change.items()]
    except (KeyError, EmbedfitError):
        return None  # a setting that this kind of program does not have
    return train(program).metric if applied else None


def _rate(program: Any, rate: float) -> None:
    """This rate at every step, whatever the author's schedule says."""

    def hold(*args: object) -> None:
        for group in program.optimizer.param_groups:
            group["lr"] = rate

    program.optimizer.register_step_pre_hook(hold)


def _decay(program: Any, decay: float) -> None:
    def hold(*args: object) -> None:
        for group in program.optimizer.param_groups:
            group["weight_decay"] = decay

    program.optimizer.register_step_pre_hook(hold)


def _infonce(program: Any, temperature: float) -> None:
    """The author's embeddings under the softmax over cosines, in both directions."""
    step = program.train_step

    def train_step(batch: Any) -> dict[str, Tensor]:
        out = step(batch)
        query, document = F.normalize(out["query"], dim=-1), F.normalize(out["document"], dim=-1)
        scores = query @ document.T / temperature
        label = torch.arange(len(query))
        back = F.cross_entropy(scores[:, : len(query)].T, label)
        return {**out, "loss": (F.cross_entropy(scores, label) + back) / 2}

    program.train_step = train_step


_APPLIES: dict[str, Callable[[Any, Any], None]] = {
    "optim.learning_rate": _rate,
    "optim.weight_decay": _decay,
    "loss.temperature": _infonce,
    "loss.kind": lambda program, kind: _infonce(program, 0.05),
}
