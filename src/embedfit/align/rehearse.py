"""A small tower learns to order candidates as the scores of a teacher do.

Axes: q queries, c candidates of one query, b queries of a batch, m queries of a part.
"""

from __future__ import annotations

__all__ = ["Rehearsed", "distil_scores"]

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.align.descent import Curve, Descent, descend
from embedfit.align.distil import plan_for, refuse
from embedfit.align.ratings import Ratings, Sheet, check_ratings, lexical, ordered, sheet_of
from embedfit.data.audit_finding import DataFinding
from embedfit.losses.vectors import VectorLoss
from embedfit.metrics import Interval, bootstrap_mean
from embedfit.towers import Tower, TwoTower, build, cached_tokens
from embedfit.types import Tokens

STUDENT = 0.05  # temperature of the student's cosines
TEMPERATURES = (0.25, 0.5, 1.0, 2.0)
"""Of the teacher, in units of the spread of its scores within a query."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rehearsed:
    """A student of scores, and how near it came to its teacher on queries it was neither taught nor chosen by.

    Attributes:
        model: the student; one tower for queries and documents.
        agreement: mean over queries of the rank correlation of its cosines with the teacher's scores.
        first: share of queries where both put the same candidate first.
        lexical: `agreement` of TF-IDF, for comparison.
        queries: reported on.
        temperatures: agreement after a short run at each temperature tried.
        temperature: the one chosen.
        curve: of the training.
        findings: what speaks against the teacher.
    """

    model: TwoTower
    agreement: Interval
    first: float
    lexical: float
    queries: int
    temperatures: Mapping[float, float]
    temperature: float
    curve: Curve
    findings: tuple[DataFinding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dimension": self.model.dimension,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "queries": self.queries,
            "agreement": self.agreement.value,
            "agreement/low": self.agreement.low,
            "agreement/high": self.agreement.high,
            "first": self.first,
            "lexical/agreement": self.lexical,
            "temperature": self.temperature,
            "temperatures": {f"{t:g}": value for t, value in self.temperatures.items()},
            "best_step": self.curve.best,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def distil_scores(
    ratings: Ratings, *, student: str | Tower = "static", plan: Descent | None = None, seed: int = 0
) -> Rehearsed:
    """Train a tower so that it orders the candidates of a query as a teacher's scores do.

    The divergence of the student's softmax over the candidates of a query from the teacher's (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531; Cao et al. 2007, ListNet). The teacher's temperature is chosen by short runs.

    Args:
        ratings: what the teacher said.
        student: kind of a tower built from scratch, or a tower, which is trained as it stands.
        plan: how weights move, a row of a batch being a query; none: by the kind of the tower.
        seed: of everything random, where there is no plan.

    Raises:
        DataError: too few queries with two candidates of different scores, columns of different lengths, scores that
            are not finite; or the teacher is unreliable.
        ModelError: no such tower.
    """
    sheet = sheet_of(ratings)
    findings = check_ratings(ratings)
    refuse(findings)
    tower = build(student, sheet.texts, seed=seed) if isinstance(student, str) else student
    plan = plan or plan_for(tower, len(sheet.query), seed)
    tokens = cached_tokens(tower, sheet.texts)
    order = np.random.default_rng(plan.seed + 1).permutation(len(sheet.query))
    part = max(1, len(order) // 10)
    test, choice, train = order[:part], order[part : 2 * part], order[2 * part :]
    short = replace(plan, steps=max(1, plan.steps // 10), warmup=plan.warmup // 10, evaluate_every=plan.steps)
    tried: dict[float, float] = {}
    for temperature in TEMPERATURES:
        pupil = deepcopy(tower)
        _descended(pupil, sheet, tokens, (train, choice), temperature, short)
        tried[temperature] = float(_agreements(pupil, sheet, tokens, choice).mean())
    best = max(tried, key=lambda t: tried[t])
    curve = _descended(tower, sheet, tokens, (train, choice), best, plan)
    agreed = _agreements(tower, sheet, tokens, test)
    with torch.no_grad():
        own = [_cosines(tower, sheet, tokens, i).argmax() == sheet.score[i].argmax() for i in test.tolist()]
    return Rehearsed(
        model=TwoTower(tower).eval(),
        agreement=bootstrap_mean(agreed),
        first=float(np.mean([bool(hit) for hit in own])),
        lexical=float(np.mean(lexical(sheet, test))),
        queries=len(test),
        temperatures=tried,
        temperature=best,
        curve=curve,
        findings=tuple(findings),
    )


class _Listwise(VectorLoss):
    """Divergence of softmax(prediction / STUDENT) from the target, a distribution over the candidates of each query."""

    def forward(self, prediction: Float[Tensor, "q c"], target: Float[Tensor, "q c"]) -> Float[Tensor, " q"]:
        """Kullback-Leibler divergence of each query, in nats; a candidate of weight 0 is padding."""
        student = (prediction / STUDENT).masked_fill(target == 0, -torch.inf).log_softmax(-1)
        return torch.where(target > 0, target * (target.clamp(min=1e-30).log() - student), 0.0).sum(-1)


def _descended(
    tower: Tower,
    sheet: Sheet,
    tokens: Tokens,
    parts: tuple[Int[np.ndarray, " m"], Int[np.ndarray, " k"]],
    temperature: float,
    plan: Descent,
) -> Curve:
    """Train on some queries; others say when it is best."""
    train, choice = parts
    wide = max(len(c) for c in sheet.candidates)
    target = torch.zeros(len(train), wide)
    texts = torch.zeros(len(train), wide, dtype=torch.long)
    for row, i in enumerate(train):
        size = len(sheet.score[i])
        target[row, :size] = (
            torch.from_numpy(sheet.score[i] / (temperature * sheet.spread)).softmax(-1).clamp(min=1e-12)
        )
        texts[row, :size] = torch.from_numpy(sheet.candidates[i])
    query = torch.tensor([sheet.query[i] for i in train])

    def predicted(rows: Int[Tensor, " b"]) -> Float[Tensor, "b c"]:
        own = torch.cat([query[rows], texts[rows].flatten()])
        used, place = torch.unique(own, return_inverse=True)
        unit = F.normalize(tower(tokens.select(used)), dim=-1)[place]
        q, d = unit[: len(rows)], unit[len(rows) :].view(len(rows), wide, -1)
        return torch.einsum("be,bce->bc", q, d)

    return descend(
        tower,
        predicted,
        target,
        _Listwise(),
        replace(plan, batch_size=min(plan.batch_size, len(train), max(1, 2_048 // wide))),
        measure=lambda: float(_agreements(tower, sheet, tokens, choice).mean()),
    )


def _cosines(tower: Tower, sheet: Sheet, tokens: Tokens, query: int) -> Float[np.ndarray, " c"]:
    rows = torch.from_numpy(np.concatenate([[sheet.query[query]], sheet.candidates[query]]))
    unit = F.normalize(tower(tokens.select(rows)), dim=-1)
    return (unit[1:] @ unit[0]).numpy()


@torch.no_grad()
def _agreements(tower: Tower, sheet: Sheet, tokens: Tokens, queries: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Rank correlation of the student's cosines with the teacher's scores, for each query."""
    return np.array([ordered(_cosines(tower, sheet, tokens, i), sheet.score[i]) for i in queries.tolist()])
