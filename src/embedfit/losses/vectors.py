"""Vector objectives: how far each predicted embedding is from its target.

Where `Scores` ask which document belongs to a query, these ask for the embedding itself: to map one space onto another,
or to distil a teacher. Row i of the prediction belongs to row i of the target.

Axes: n rows of a batch, e dimensions of the prediction, f of the target (f = e unless said otherwise).
"""

from __future__ import annotations

__all__ = [
    "MAE",
    "MSE",
    "OBJECTIVES",
    "TEMPERED",
    "Contrastive",
    "Cosine",
    "Distribution",
    "Euclidean",
    "Huber",
    "Margin",
    "Ranking",
    "Similarity",
    "VectorLoss",
    "Weighted",
    "jasper",
    "objective",
]

from abc import ABC, abstractmethod
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from embedfit.errors import RecipeError
from embedfit.losses.base import NEVER
from embedfit.losses.infonce import InfoNCE
from embedfit.scores import Scores

SAME = 1e-6  # targets whose cosine is this close to 1 are one and the same, and no negatives of each other


class VectorLoss(nn.Module, ABC):
    """What every vector objective is: prediction and target in, one number per row out; it never reduces."""

    @abstractmethod
    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Loss of each row."""


class MSE(VectorLoss):
    """Mean of the squared differences. One outlier counts by the square of its distance."""

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """Mean squared difference of each row."""
        return (prediction - target).square().mean(-1)


class MAE(VectorLoss):
    """Mean of the absolute differences; the gradient of a coordinate is bounded, however far off it is."""

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """Mean absolute difference of each row."""
        return (prediction - target).abs().mean(-1)


class Huber(VectorLoss):
    """Mean over coordinates of d^2 / 2 up to |d| = `delta`, of delta (|d| - delta / 2) beyond.

    Args:
        delta: where the parabola becomes a line, in the unit of the targets; > 0. Above the largest difference the
            loss is half of `MSE`, outliers and all.

    References:
        Huber 1964, Robust estimation of a location parameter.
    """

    def __init__(self, delta: float = 0.05) -> None:
        super().__init__()
        self.delta = _positive("delta", delta)

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """Mean Huber difference of each row."""
        return F.huber_loss(prediction, target, reduction="none", delta=self.delta).mean(-1)


class Euclidean(VectorLoss):
    """The distance itself, |p - t|: every row pulls with the same force, so that outliers cannot outweigh the rest."""

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """Distance of each row."""
        return torch.linalg.vector_norm(prediction - target, dim=-1)


class Cosine(VectorLoss):
    """1 - cos(p, t): the direction alone; the length of the prediction stays what it happens to be."""

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """1 - cosine of each row."""
        return 1 - F.cosine_similarity(prediction, target, dim=-1)


class Margin(VectorLoss):
    """The own target must be nearer than the targets of other rows, by a margin of cosine.

    It is content long before the prediction reaches its target: an addition to another objective (see `Weighted`).

    Args:
        margin: by how much; in (0, 2).
        hardest: only the nearest other target counts; false: the mean over all of them.
    """

    def __init__(self, margin: float = 0.2, *, hardest: bool = False) -> None:
        super().__init__()
        self.margin = _positive("margin", margin)
        self.hardest = hardest

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """Violation of the margin by each row; 0 where no other target is in the batch."""
        cosine = _cosines(prediction, target)
        other = ~_same(target)
        violation = (self.margin - cosine.diagonal()[:, None] + cosine).clamp(min=0) * other
        if self.hardest:
            return violation.amax(-1)
        return violation.sum(-1) / other.sum(-1).clamp(min=1)


class Contrastive(VectorLoss):
    """InfoNCE: the own target against the targets of the other rows. Like `Margin`, an addition.

    Args:
        temperature: divides the cosines; > 0.

    References:
        Tian et al. 2020, Contrastive representation distillation, https://arxiv.org/abs/1910.10699.
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.softmax = InfoNCE(temperature)

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
        """Cross-entropy of each row, in nats."""
        own = torch.eye(len(target), dtype=torch.bool, device=target.device)
        return self.softmax(Scores(_cosines(prediction, target), own, own | ~_same(target)))


class Similarity(VectorLoss):
    """Relational: the cosines among the predictions must be those among the targets; dimensions may differ.

    Mean over the other rows of (cos(p_i, p_j) - cos(t_i, t_j))^2.

    References:
        Park et al. 2019, Relational knowledge distillation, https://arxiv.org/abs/1904.05068; L_sim of Zhang et al.
        2024, Jasper and Stella, https://arxiv.org/abs/2412.19048, equation 2.
    """

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Mean squared difference of each row of the similarity matrices."""
        difference = _cosines(prediction, prediction) - _cosines(target, target)
        return difference.square().sum(-1) / max(1, len(target) - 1)


class Distribution(VectorLoss):
    """Relational: each row's softmax over the other rows must be the teacher's; dimensions may differ.

    Kullback-Leibler divergence of the distributions softmax(cos(t_i, t_j) / temperature) and the same of p, j != i,
    times the square of the temperature, so that gradients keep their size when it is changed.

    Args:
        temperature: divides the cosines of both sides; > 0. Small: only the nearest rows count.

    References:
        Hinton et al. 2015, Distilling the knowledge in a neural network, https://arxiv.org/abs/1503.02531, section 2;
        Fang et al. 2021, SEED, https://arxiv.org/abs/2101.04731.
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.temperature = _positive("temperature", temperature)

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Divergence of each row, in nats times the squared temperature."""
        own = torch.eye(len(target), dtype=torch.bool, device=target.device)
        student, teacher = (
            (_cosines(x, x) / self.temperature).masked_fill(own, NEVER).log_softmax(-1) for x in (prediction, target)
        )
        return F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1) * self.temperature**2


class Ranking(VectorLoss):
    """Relational: of two other rows, the one the target is nearer to must be nearer in the prediction by a margin.

    Mean over ordered pairs (j, k) with cos(t_i, t_j) > cos(t_i, t_k) of max(0, margin - cos(p_i, p_j) + cos(p_i, p_k)).
    Memory grows with n^3; Zhang et al. compare every two pairs of the batch, n^4 / 8 of them.

    Args:
        margin: in cosine; > 0.

    References:
        L_resim of Zhang et al. 2024, https://arxiv.org/abs/2412.19048, equation 3.
    """

    def __init__(self, margin: float = 0.015) -> None:
        super().__init__()
        self.margin = _positive("margin", margin)

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Mean violation of each row; 0 where the teacher orders nothing."""
        student, teacher = _cosines(prediction, prediction), _cosines(target, target)
        others = ~torch.eye(len(target), dtype=torch.bool, device=target.device)
        nearer = (teacher[:, :, None] > teacher[:, None, :]) & others[:, :, None] & others[:, None, :]
        violation = (self.margin - student[:, :, None] + student[:, None, :]).clamp(min=0) * nearer
        return violation.sum((1, 2)) / nearer.sum((1, 2)).clamp(min=1)


class Weighted(VectorLoss):
    """A weighted sum of objectives: `Weighted((1.0, Cosine()), (1.0, Euclidean()))`.

    Args:
        *parts: weight and objective, each weight > 0.

    Raises:
        ValueError: nothing to add up, or a weight out of range.
    """

    def __init__(self, *parts: tuple[float, VectorLoss]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("a weighted sum needs at least one objective")
        self.weights = [_positive("weight", weight) for weight, _ in parts]
        self.parts = nn.ModuleList(part for _, part in parts)

    def forward(self, prediction: Float[Tensor, "n e"], target: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
        """Weighted sum for each row."""
        terms = [w * part(prediction, target) for w, part in zip(self.weights, self.parts, strict=True)]
        return torch.stack(terms).sum(0)


def jasper() -> Weighted:
    """Direction, similarities and their order, as Zhang et al. 2024 weigh them (arXiv 2412.19048, equation 4)."""
    return Weighted((10.0, Cosine()), (200.0, Similarity()), (20.0, Ranking()))


OBJECTIVES = (
    "mse", "mae", "huber", "euclidean", "cosine", "cosine+euclidean", "cosine+mse", "euclidean+margin",
    "euclidean+contrastive", "cosine+similarity", "cosine+distribution", "jasper", "margin", "margin-hardest",
    "contrastive", "similarity", "distribution",
)  # fmt: skip
"""Names that `objective` knows."""
TEMPERED = frozenset({"contrastive", "distribution"})
"""Terms that have a temperature."""


def objective(name: str, *, temperature: float = 0.05) -> VectorLoss:
    """An objective by its name, terms joined by `+` weighted alike; the temperature is that of the terms with one.

    Raises:
        RecipeError: there is no such objective.
    """
    if name == "jasper":
        return jasper()
    single: dict[str, VectorLoss] = {
        "mse": MSE(),
        "mae": MAE(),
        "huber": Huber(),
        "euclidean": Euclidean(),
        "cosine": Cosine(),
        "margin": Margin(),
        "margin-hardest": Margin(hardest=True),
        "contrastive": Contrastive(temperature),
        "similarity": Similarity(),
        "distribution": Distribution(temperature),
    }
    terms = name.split("+")
    if not all(term in single for term in terms):
        near = get_close_matches(name, OBJECTIVES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(OBJECTIVES)}"
        raise RecipeError(f"there is no vector objective '{name}'", hint=hint)
    return single[name] if len(terms) == 1 else Weighted(*((1.0, single[term]) for term in terms))


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


def _cosines(a: Float[Tensor, "n e"], b: Float[Tensor, "m e"]) -> Float[Tensor, "n m"]:
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


def _same(target: Float[Tensor, "n e"]) -> Bool[Tensor, "n n"]:
    """Rows that share a target, the row itself among them."""
    own = torch.eye(len(target), dtype=torch.bool, device=target.device)
    return own | (_cosines(target, target) > 1 - SAME)
