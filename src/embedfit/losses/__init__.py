"""Objectives: `Scores` in, one number per query out."""

from embedfit.losses.base import Loss, Softmax
from embedfit.losses.graded import CoSENT, CosineRegression
from embedfit.losses.infonce import InfoNCE
from embedfit.losses.symmetric import Symmetric

__all__ = ["CoSENT", "CosineRegression", "InfoNCE", "Loss", "Softmax", "Symmetric"]
