"""Losses for graded pairs: each query against its own document, `target` holds the grade."""

from __future__ import annotations

__all__ = ["CoSENT", "CosineRegression", "misordered"]

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.losses.base import NEVER, Loss
from embedfit.scores import Scores


def _graded(scores: Scores) -> tuple[Float[Tensor, " q"], Float[Tensor, " q"]]:
    if scores.target is None or scores.values.shape[1] != 1:
        raise ValueError("a graded loss needs paired scores [q, 1] with a target; build them with `paired_scores`")
    return scores.values[:, 0], scores.target[:, 0]


def misordered(logits: Float[Tensor, " q"], grade: Float[Tensor, " q"]) -> Float[Tensor, ""]:
    """log(1 + sum over grade_i > grade_j of exp(logit_j - logit_i))."""
    wrong = (logits[None, :] - logits[:, None]).masked_fill(grade[:, None] <= grade[None, :], NEVER)
    return torch.cat([logits.new_zeros(1), wrong.flatten()]).logsumexp(0)


class CoSENT(Loss):
    """Every pair of pairs whose grades differ must be ordered by cosine as by grade.

    log(1 + sum over target_i > target_j of exp((cos_j - cos_i) / temperature)), one number for the batch, returned
    for every query. Only the order of the grades counts, so their scale is free; a batch of equal grades gives 0.

    Args:
        temperature: divides the differences of cosines; > 0.

    Raises:
        ValueError: temperature out of range, or scores that are not paired.

    References:
        Su 2022, https://kexue.fm/archives/8847; Huang et al. 2024, https://doi.org/10.1109/TASLP.2024.3402087, eq. 9.
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """The batch's loss, once for each query."""
        value, grade = _graded(scores)
        return misordered(value / self.temperature, grade).expand(len(value))


class CosineRegression(Loss):
    """Squared difference between the grade and a line through the cosine: (a cos + b - grade)^2.

    The cosine of unrelated texts is not the lowest grade, nor need that of equal texts be the highest; with a and b
    fixed at 1 and 0, much of the gradient goes into moving all cosines at once. Only the order of cosines is used
    afterwards, so a and b are learned and then forgotten.

    Args:
        learned: false keeps a = 1 and b = 0.

    Raises:
        ValueError: scores that are not paired.

    References:
        Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084, section 3 (regression objective, a = 1, b = 0).
    """

    def __init__(self, learned: bool = True) -> None:
        super().__init__()
        self.learned = learned
        self.slope = nn.Parameter(torch.ones(()), requires_grad=learned)
        self.offset = nn.Parameter(torch.zeros(()), requires_grad=learned)

    def forward(self, scores: Scores) -> Float[Tensor, " q"]:
        """Squared error of each query."""
        value, grade = _graded(scores)
        return (self.slope * value + self.offset - grade) ** 2
