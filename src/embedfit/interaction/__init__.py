"""Scorers that read two texts together, or token by token, where two towers compare one vector with one vector."""

from embedfit.interaction.fitting import fit_scorer
from embedfit.interaction.folder import load_scorer, save_scorer
from embedfit.interaction.scorers import CrossEncoder, MaxSim, Scorer

__all__ = ["CrossEncoder", "MaxSim", "Scorer", "fit_scorer", "load_scorer", "save_scorer"]
