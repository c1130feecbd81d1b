"""`Scores` and the ways to get them: whole (`score`), or tile by tile without ever holding q x d numbers (`tiled`)."""

from embedfit.scores.cells import Doubtful, Guide, Known
from embedfit.scores.dense import Scores, cosine, marked, paired_scores, score, units
from embedfit.scores.tiles import NONE, Rivals

__all__ = [
    "NONE",
    "Doubtful",
    "Guide",
    "Known",
    "Rivals",
    "Scores",
    "cosine",
    "marked",
    "paired_scores",
    "score",
    "units",
]
