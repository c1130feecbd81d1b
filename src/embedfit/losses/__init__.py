"""Objectives: `Scores` in, one number per query out."""

from embedfit.losses.base import Loss, Softmax
from embedfit.losses.cells import Sigmoid
from embedfit.losses.graded import CoSENT, CosineRegression
from embedfit.losses.infonce import InfoNCE
from embedfit.losses.margins import Additive, Angular, Diameter, Least, Margin, Multiple
from embedfit.losses.pairs import BYOL, AnglE, PairLoss, SimSiam, SoftmaxHead
from embedfit.losses.ranking import Circle, Hinge, Homotopy
from embedfit.losses.softmax import DCL, Debiased, Focal, LogQ, TargetProbability
from embedfit.losses.symmetric import Symmetric, one_direction
from embedfit.losses.temperature import Temperature

__all__ = [
    "BYOL",
    "DCL",
    "Additive",
    "AnglE",
    "Angular",
    "Circle",
    "CoSENT",
    "CosineRegression",
    "Debiased",
    "Diameter",
    "Focal",
    "Hinge",
    "Homotopy",
    "InfoNCE",
    "Least",
    "LogQ",
    "Loss",
    "Margin",
    "Multiple",
    "PairLoss",
    "Sigmoid",
    "SimSiam",
    "Softmax",
    "SoftmaxHead",
    "Symmetric",
    "TargetProbability",
    "Temperature",
    "one_direction",
]
