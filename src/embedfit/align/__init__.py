"""Embedding to embedding: is there a mapping, which one, and what it does to a search index."""

from __future__ import annotations

__all__ = [
    "Alignment",
    "Curve",
    "Descent",
    "Distilled",
    "Fit",
    "Ratings",
    "Rehearsed",
    "Teacher",
    "align",
    "check_ratings",
    "check_teacher",
    "descend",
    "distil",
    "distil_scores",
    "learn_map",
    "migrate",
]

from embedfit.align.alignment import Alignment, Fit, align, learn_map
from embedfit.align.descent import Curve, Descent, descend
from embedfit.align.distil import Distilled, Teacher, distil
from embedfit.align.migrate import migrate
from embedfit.align.ratings import Ratings, check_ratings
from embedfit.align.rehearse import Rehearsed, distil_scores
from embedfit.align.teacher import check_teacher
