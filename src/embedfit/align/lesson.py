"""What a student learns from: texts with their targets, and which of them it is chosen by and measured on.

Axes: t originals, n texts with their translations, d dimensions, m texts of a part.
"""

from __future__ import annotations

__all__ = ["Lesson", "agreement", "crossing", "divided", "study"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from embedfit.align.descent import Curve, Descent, descend
from embedfit.align.quality import Quality, quality
from embedfit.losses.vectors import VectorLoss
from embedfit.metrics import spearman
from embedfit.towers import Tower
from embedfit.types import Tokens

HELD_OUT = 500  # texts to choose by, and as many to report on
PAIRS = 5_000  # of texts whose similarity is compared with the teacher's


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """Texts with their targets, and which of them are learned from, chosen by, and reported on.

    Attributes:
        tokens: of all texts, translations last.
        target: of the originals, which are the first `len(target)` texts.
        train: rows learned from.
        choice: rows that say which weights and which temperature are best.
        test: rows reported on.
    """

    tokens: Tokens
    target: Float[Tensor, "t d"]
    train: Int[Tensor, " train"]
    choice: Int[Tensor, " choice"]
    test: Int[Tensor, " test"]

    def of(self, rows: Int[Tensor, " m"]) -> Float[Tensor, "m d"]:
        """What some texts are to become."""
        return self.target[rows % len(self.target)]

    def embedded(self, tower: Tower, rows: Int[Tensor, " m"]) -> Float[Tensor, "m d"]:
        """What a tower makes of them, of unit length."""
        return F.normalize(torch.cat([tower(self.tokens.select(part)) for part in rows.split(256)]), dim=-1)


def divided(texts: Sequence[str], tokens: Tokens, target: Float[np.ndarray, "t d"], seed: int) -> Lesson:
    """Equal texts, and a text and its translation, are on one side."""
    number: dict[str, int] = {}
    own = np.array([number.setdefault(text, len(number)) for text in texts])
    other = own[np.arange(len(texts)) % len(target)]
    links = coo_matrix((np.ones(len(own)), (own, other)), shape=(len(number), len(number)))
    groups, place = connected_components(links, directed=False)
    order = np.argsort(np.random.default_rng(seed + 1).permutation(groups))[place[own]]
    part = min(HELD_OUT, groups // 10)
    test, choice = order < part, (order >= part) & (order < 2 * part)
    test, choice, train = (torch.from_numpy(np.flatnonzero(rows)) for rows in (test, choice, ~(test | choice)))
    y = torch.from_numpy(np.ascontiguousarray(target, np.float32))
    return Lesson(tokens=tokens, target=y, train=train, choice=choice, test=test)


def study(tower: Tower, lesson: Lesson, loss: VectorLoss, plan: Descent) -> Curve:
    """Train on the rows to learn from; the rows to choose by say when it is best."""
    aim = lesson.of(lesson.choice)
    return descend(
        tower,
        lambda rows: tower(lesson.tokens.select(lesson.train[rows])),
        lesson.of(lesson.train),
        loss,
        replace(plan, batch_size=min(plan.batch_size, len(lesson.train))),
        measure=lambda: float((lesson.embedded(tower, lesson.choice) * aim).sum(-1).mean()),
    )


def crossing(found: Float[np.ndarray, "m d"], lesson: Lesson) -> Quality | None:
    """Translations among the texts reported on against all originals there, both as the student embeds them."""
    count = len(lesson.target)
    original, translated = ((lesson.test < count).numpy(), (lesson.test >= count).numpy())
    if not translated.any():
        return None
    place = {row: i for i, row in enumerate(lesson.test[torch.from_numpy(original)].tolist())}
    own = np.array([place[row - count] for row in lesson.test[torch.from_numpy(translated)].tolist()])
    return quality(found[translated], found[original], own, cosine=True)


@torch.no_grad()
def agreement(tower: Tower, lesson: Lesson, rows: Int[Tensor, " m"], seed: int) -> float:
    """Rank correlation of the student's cosines with the teacher's over pairs of texts."""
    student, teacher = lesson.embedded(tower, rows).numpy(), lesson.of(rows).numpy()
    a, b = np.random.default_rng(seed).integers(len(student), size=(2, PAIRS))
    a, b = a[a != b], b[a != b]
    return spearman(np.einsum("ne,ne->n", student[a], student[b]), np.einsum("ne,ne->n", teacher[a], teacher[b]))
