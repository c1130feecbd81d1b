"""A small tower learns to embed as a teacher does.

Axes: n texts, e dimensions of the teacher, d of the student, v sub-words.
"""

from __future__ import annotations

__all__ = ["TEMPERATURES", "Distilled", "Encode", "Teacher", "distil", "plan_for", "refuse", "start_from"]

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from embedfit.align.descent import Curve, Descent
from embedfit.align.lesson import Lesson, agreement, crossing, divided, study
from embedfit.align.quality import Quality, quality
from embedfit.align.spaces import ruler_for
from embedfit.align.teacher import check_teacher
from embedfit.data.audit_finding import DataFinding
from embedfit.errors import DataError
from embedfit.losses.vectors import TEMPERED, VectorLoss
from embedfit.losses.vectors import objective as objective_of
from embedfit.towers import Encoder, Static, Tower, TwoTower, build, cached_tokens
from embedfit.towers.bag import Residual, idf, unit_rows
from embedfit.types import Tokens

LEAST = 50  # texts
MAX_TOKENS = 512  # of a static student
TEMPERATURES = (0.02, 0.05, 0.1, 0.2)
"""Tried where the objective has one and none is given."""
Encode = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teacher:
    """Vectors that a teacher gave earlier, and the teacher.

    Attributes:
        vectors: of the texts, row by row.
        encode: embeds other texts; none: it is not at hand any more.
        tokenizer: its sub-words, where it has any.
    """

    vectors: Float[np.ndarray, "n e"]
    encode: Encode | None = None
    tokenizer: Tokenizer | None = None

    @classmethod
    def of(cls, model: TwoTower, vectors: Float[np.ndarray, "n e"]) -> Teacher:
        """A model, and its vectors of the texts as documents."""
        tower = model.tower("document")
        own = tower.tokenizer if isinstance(tower, Encoder | Static) else None
        return cls(vectors=vectors, encode=partial(model.encode, role="document"), tokenizer=own)

    def reduced(self, dimension: int) -> Teacher:
        """The same in its strongest directions, which keep inner products best; further ones are left empty."""
        unit = ruler_for(self.vectors, "cosine")
        rows = unit(self.vectors)
        size = rows.shape[1]
        turn = np.eye(size, dimension, dtype=np.float32)
        if dimension < size:
            values, basis = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
            turn = basis[:, np.argsort(-values)[:dimension]].astype(np.float32)
        encode = None if self.encode is None else partial(_turned, self.encode, turn)
        return Teacher(vectors=unit(rows @ turn), encode=encode, tokenizer=self.tokenizer)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distilled:
    """A student, and how near it came to its teacher on texts that it has neither learned from nor been chosen by.

    Attributes:
        model: the student.
        quality: its embeddings against the teacher's.
        similarity: rank correlation of its cosines with the teacher's, over pairs of texts.
        curve: of the training.
        temperatures: `similarity` after a short run at each temperature tried; empty where there was nothing to try.
        temperature: the one chosen.
        crossing: translations that search for their originals; none where there are none.
        findings: what speaks against the teacher.
    """

    model: TwoTower
    quality: Quality
    similarity: float
    curve: Curve
    temperatures: Mapping[float, float]
    temperature: float | None
    crossing: Quality | None
    findings: tuple[DataFinding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        crossed = {} if self.crossing is None else self.crossing.to_dict()
        return {
            "dimension": self.model.dimension,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            **self.quality.to_dict(),
            "similarity/spearman": self.similarity,
            "steps_to_cosine_0.9": self.curve.first_at(0.9),
            "best_step": self.curve.best,
            "temperature": self.temperature,
            "temperatures": {f"{t:g}": value for t, value in self.temperatures.items()},
            **{f"translation/{name}": crossed[name] for name in ("recall@1", "recall@10", "candidates") if crossed},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def distil(
    texts: Sequence[str],
    teacher: Float[np.ndarray, "n e"] | TwoTower | Teacher,
    *,
    student: str | Tower = "static",
    objective: str | VectorLoss = "cosine+distribution",
    translations: Sequence[str] | None = None,
    plan: Descent | None = None,
    seed: int = 0,
) -> Distilled:
    """Train a tower so that it embeds texts as a teacher does.

    Two languages come into one space where each translation is to land on the teacher's vector of its original
    (Reimers and Gurevych 2020, https://arxiv.org/abs/2004.09813).

    Args:
        texts: what the teacher embedded, or is to embed; a text may come several times.
        teacher: a model; or its vectors, row by row; or both, where they have been worked out before. A static student
            of a teacher that is at hand takes over its sub-words, and begins with its embeddings of them.
        student: kind of a tower built from scratch, or a tower, which is trained as it stands; of fewer dimensions than
            the teacher, it learns the teacher's strongest.
        objective: name in `embedfit.losses.vectors.OBJECTIVES`, whose temperature, if it has one, is chosen by short
            runs; or an objective.
        translations: what each text is in another language, which the teacher need not know.
        plan: how weights move; none: by the kind of the tower.
        seed: of everything random, where there is no plan.

    Raises:
        DataError: too few texts, or another number of vectors or translations; or the teacher is unreliable.
        ModelError: no such tower.
        RecipeError: no such objective.
    """
    given = _given(texts, teacher)
    findings = check_teacher(texts, given.vectors)
    refuse(findings)
    everything = [*texts, *(translations or ())]
    if translations is not None and len(translations) != len(texts):
        raise DataError(f"{len(texts):,} texts and {len(translations):,} translations", hint="one for each text")
    if isinstance(student, str):
        student = _begun(student, texts, translations or (), given, seed)
    given = given.reduced(student.dimension)
    tokens = cached_tokens(student, everything)
    plan = plan or plan_for(student, len(everything), seed)
    return _taught(student, divided(everything, tokens, given.vectors, plan.seed), objective, plan, findings)


def _begun(kind: str, texts: Sequence[str], translations: Sequence[str], teacher: Teacher, seed: int) -> Tower:
    """A tower from scratch, without dropout: with a target for every text it only slows what is to be learned.

    A static one has a residual block, and begins with the teacher's embedding of each sub-word; it takes over the
    teacher's own, unless it is to read what the teacher cannot. Most words of new texts are then words that the teacher
    knows, whether or not they were among the texts.
    """
    size = teacher.vectors.shape[1]
    if kind != "static":
        return build(kind, [*texts, *translations], dimension=size, dropout=0.0, seed=seed)
    if teacher.tokenizer is not None and not translations:
        made: Tower = _over(teacher.tokenizer, size, seed)
    else:
        made = build(kind, [*texts, *translations], dimension=size, layers=1, dropout=0.0, seed=seed)
    assert isinstance(made, Static)
    if teacher.encode is not None:
        tokens = made.tokenize(texts)
        known = torch.unique(tokens.ids) if translations else torch.arange(len(made.table))
        start_from(made, tokens, known, teacher.encode)
    return made


def _over(tokenizer: Tokenizer, size: int, seed: int) -> Static:
    """A static tower over the sub-words of another."""
    own = Tokenizer.from_str(tokenizer.to_str())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = Residual(size, size)
    rows = unit_rows(torch.ones(own.get_vocab_size()), size, seed=seed)
    return Static(own, rows, max_tokens=MAX_TOKENS, head=[block])


def refuse(findings: Sequence[DataFinding]) -> None:
    """Stop where a teacher deserves no student.

    Raises:
        DataError: it does not.
    """
    spoilt = next((finding for finding in findings if finding.severity == "issue"), None)
    if spoilt is not None:
        raise DataError(spoilt.sentence, hint="mend the pairing, or take another teacher")


def plan_for(tower: Tower, texts: int, seed: int) -> Descent:
    """So many times through the texts, 300 steps at least, at the rate of the tower's kind."""
    if isinstance(tower, Encoder):
        rate, epochs = 1e-4, 3
    elif isinstance(tower, Static):
        rate, epochs = 1e-2, 10  # twice as many keep no more of the teacher
    else:
        rate, epochs = 1e-3, 20
    steps = max(300, epochs * texts // 128)
    return Descent(
        steps=steps,
        batch_size=128,
        learning_rate=rate,
        warmup=steps // 20,
        evaluate_every=max(1, steps // 20),
        seed=seed,
    )


@torch.no_grad()
def start_from(tower: Static, tokens: Tokens, known: Int[Tensor, " v"], encode: Encode) -> None:
    """Rows of the table: the teacher's embedding of each sub-word, as long as it is rare.

    As model2vec does (Tulkens and van Dongen 2024, https://github.com/MinishLab/model2vec).

    Args:
        tower: whose rows are overwritten.
        tokens: of the texts, which say how rare a sub-word is.
        known: sub-words that the teacher can read.
        encode: embeds sub-words in the dimensions of the tower.
    """
    words = [tower.tokenizer.decode([i]).strip() or str(tower.tokenizer.id_to_token(i)) for i in known.tolist()]
    rows = torch.from_numpy(np.ascontiguousarray(encode(words), np.float32))
    rows = rows - rows.mean(0)  # the direction that all words share says nothing
    tower.table[known] = F.normalize(rows, dim=-1) * idf(tokens, len(tower.table))[known, None]


def _taught(
    tower: Tower, lesson: Lesson, objective: str | VectorLoss, plan: Descent, findings: list[DataFinding]
) -> Distilled:
    tried: dict[float, float] = {}
    if isinstance(objective, VectorLoss):
        temperature, loss = None, objective
    elif TEMPERED & set(objective.split("+")):
        short = replace(plan, steps=max(1, plan.steps // 10), warmup=plan.warmup // 10, evaluate_every=plan.steps)
        for temperature in TEMPERATURES:
            pupil = deepcopy(tower)
            study(pupil, lesson, objective_of(objective, temperature=temperature), short)
            tried[temperature] = agreement(pupil, lesson, lesson.choice, plan.seed)
        temperature = max(tried, key=lambda t: tried[t])
        loss = objective_of(objective, temperature=temperature)
    else:
        temperature, loss = None, objective_of(objective)
    curve = study(tower, lesson, loss, plan)
    with torch.no_grad():
        found = lesson.embedded(tower, lesson.test).numpy()
    pool = lesson.target.numpy()
    own = (lesson.test % len(pool)).numpy()
    return Distilled(
        model=TwoTower(tower).eval(),
        quality=quality(found, pool, own, cosine=True),
        similarity=agreement(tower, lesson, lesson.test, plan.seed),
        curve=curve,
        temperatures=tried,
        temperature=temperature,
        crossing=crossing(found, lesson),
        findings=tuple(findings),
    )


def _given(texts: Sequence[str], teacher: Float[np.ndarray, "n e"] | TwoTower | Teacher) -> Teacher:
    """The teacher with its vectors of the texts."""
    if isinstance(teacher, TwoTower):
        made = Teacher.of(teacher, teacher.encode(list(texts), role="document"))
    else:
        made = teacher if isinstance(teacher, Teacher) else Teacher(vectors=teacher)
    if len(texts) < LEAST or len(texts) != len(made.vectors):
        raise DataError(
            f"{len(texts):,} texts and {len(made.vectors):,} vectors of the teacher",
            hint=f"one vector for each text, and {LEAST} texts at least (better thousands)",
        )
    return made


def _turned(encode: Encode, turn: Float[np.ndarray, "e d"], words: list[str]) -> Float[np.ndarray, "v d"]:
    return encode(words) @ turn
