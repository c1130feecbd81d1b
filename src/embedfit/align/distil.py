"""A small tower learns to embed as a teacher does.

Axes: n texts, e dimensions of the teacher, d of the student.
"""

from __future__ import annotations

__all__ = ["Distilled", "distil"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from embedfit.align.descent import Curve, Descent, descend
from embedfit.align.quality import Quality, quality
from embedfit.align.spaces import ruler_for
from embedfit.align.teacher import check_teacher
from embedfit.data.audit_finding import DataFinding
from embedfit.errors import DataError
from embedfit.losses.vectors import VectorLoss
from embedfit.losses.vectors import objective as objective_of
from embedfit.metrics import spearman
from embedfit.towers import Encoder, Static, Tower, TwoTower, build, cached_tokens
from embedfit.towers.bag import idf
from embedfit.types import Tokens

LEAST = 50  # texts
HELD_OUT = 500
PAIRS = 5_000  # of texts whose similarity is compared with the teacher's
Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distilled:
    """A student, and how near it came to its teacher on texts it has not seen.

    Attributes:
        model: the student.
        quality: its held-out embeddings against the teacher's.
        similarity: rank correlation of its cosines with the teacher's, over pairs of held-out texts.
        curve: of the training.
        findings: what speaks against the teacher.
    """

    model: TwoTower
    quality: Quality
    similarity: float
    curve: Curve
    findings: tuple[DataFinding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dimension": self.model.dimension,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            **self.quality.to_dict(),
            "similarity/spearman": self.similarity,
            "steps_to_cosine_0.9": self.curve.first_at(0.9),
            "best_step": self.curve.best,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def distil(
    texts: Sequence[str],
    teacher: Float[np.ndarray, "n e"],
    *,
    student: str | Tower = "static",
    objective: str | VectorLoss = "cosine+distribution",
    encode: Encode | None = None,
    plan: Descent | None = None,
    seed: int = 0,
) -> Distilled:
    """Train a tower so that it embeds texts as a teacher does.

    Two languages come into one space where the texts hold both and each translation has the teacher's vector of the
    original (Reimers and Gurevych 2020, https://arxiv.org/abs/2004.09813).

    Args:
        texts: what the teacher embedded; a text may come several times.
        teacher: its vectors, row by row.
        student: kind of a tower built from scratch, or a tower; of fewer dimensions than the teacher, it learns the
            teacher's strongest.
        objective: name in `embedfit.losses.vectors.OBJECTIVES`, or an objective.
        encode: the teacher itself, to embed sub-words with: the table of a static student is overwritten with them.
        plan: how weights move; none: by the kind of the tower.
        seed: of everything random, where there is no plan.

    Raises:
        DataError: too few texts, or another number of vectors; or the teacher is unreliable.
        ModelError: no such tower.
        RecipeError: no such objective.
    """
    if len(texts) < LEAST or len(texts) != len(teacher):
        raise DataError(
            f"{len(texts):,} texts and {len(teacher):,} vectors of the teacher",
            hint=f"one vector for each text, and {LEAST} texts at least (better thousands)",
        )
    loss = objective_of(objective) if isinstance(objective, str) else objective
    target = ruler_for(teacher, "cosine")(teacher)
    findings = check_teacher(texts, target)
    spoilt = next((finding for finding in findings if finding.severity == "issue"), None)
    if spoilt is not None:
        raise DataError(spoilt.sentence, hint="mend the pairing, or take another teacher")
    size = target.shape[1]
    tower = build(student, texts, dimension=size, seed=seed) if isinstance(student, str) else student
    target, turn = _reduced(target, tower.dimension)
    tokens = cached_tokens(tower, texts)
    if encode is not None and isinstance(tower, Static) and not len(tower.head):
        _start_from(tower, tokens, lambda words: encode(words) @ turn)
    return _trained(tower, texts, tokens, target, loss, plan or _plan_for(tower, len(texts), seed), findings)


def _plan_for(tower: Tower, texts: int, seed: int) -> Descent:
    """Twenty times through the texts, 300 steps at least, at the rate of the tower's kind."""
    encoder = isinstance(tower, Encoder)
    rate = 1e-4 if encoder else 3e-3 if isinstance(tower, Static) else 1e-3
    steps = max(300, (3 if encoder else 20) * texts // 128)
    return Descent(
        steps=steps,
        batch_size=128,
        learning_rate=rate,
        warmup=steps // 20,
        evaluate_every=max(1, steps // 20),
        seed=seed,
    )


def _trained(
    tower: Tower,
    texts: Sequence[str],
    tokens: Tokens,
    target: Float[np.ndarray, "n d"],
    loss: VectorLoss,
    plan: Descent,
    findings: list[DataFinding],
) -> Distilled:
    number: dict[str, int] = {}
    group = np.array([number.setdefault(text, len(number)) for text in texts])
    order = np.random.default_rng(plan.seed + 1).permutation(len(number))
    held = np.isin(group, order[: max(1, min(HELD_OUT, len(number) // 10))])
    test, train = torch.from_numpy(np.flatnonzero(held)), torch.from_numpy(np.flatnonzero(~held))
    y = torch.from_numpy(np.ascontiguousarray(target, np.float32))

    def held_out() -> Tensor:
        return F.normalize(torch.cat([tower(tokens.select(rows)) for rows in test.split(256)]), dim=-1)

    curve = descend(
        tower,
        lambda rows: tower(tokens.select(train[rows])),
        y[train],
        loss,
        replace(plan, batch_size=min(plan.batch_size, len(train))),
        measure=lambda: float((held_out() * y[test]).sum(-1).mean()),
    )
    with torch.no_grad():
        prediction = held_out().numpy()
    own = target[held]
    return Distilled(
        model=TwoTower(tower).eval(),
        quality=quality(prediction, target, np.flatnonzero(held), cosine=True),
        similarity=_similarity(prediction, own, plan.seed),
        curve=curve,
        findings=tuple(findings),
    )


def _reduced(
    target: Float[np.ndarray, "n e"], dimension: int
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "e d"]]:
    """Unit rows in the strongest directions, which keep inner products best; and the turn to them.

    A student of more dimensions than the teacher leaves the others empty.
    """
    size = target.shape[1]
    if dimension >= size:
        turn = np.eye(size, dimension, dtype=np.float32)
    else:
        values, basis = np.linalg.eigh(target.T.astype(np.float64) @ target)
        turn = basis[:, np.argsort(-values)[:dimension]].astype(np.float32)
    return ruler_for(target, "cosine")(target @ turn), turn


@torch.no_grad()
def _start_from(tower: Static, tokens: Tokens, encode: Encode) -> None:
    """Rows of the table: the teacher's embedding of each sub-word, as long as it is rare.

    As model2vec does (Tulkens and van Dongen 2024, https://github.com/MinishLab/model2vec).
    """
    used = torch.unique(tokens.ids)
    words = [tower.tokenizer.decode([i]).strip() or str(tower.tokenizer.id_to_token(i)) for i in used.tolist()]
    rows = torch.from_numpy(np.ascontiguousarray(encode(words), np.float32))
    rows = rows - rows.mean(0)  # the direction that all words share says nothing
    weight = idf(tokens, len(tower.table))[used]
    tower.table[used] = F.normalize(rows, dim=-1) * weight[:, None]


def _similarity(student: Float[np.ndarray, "n d"], teacher: Float[np.ndarray, "n d"], seed: int) -> float:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(len(student), size=(2, PAIRS))
    a, b = a[a != b], b[a != b]
    return spearman(np.einsum("ne,ne->n", student[a], student[b]), np.einsum("ne,ne->n", teacher[a], teacher[b]))
