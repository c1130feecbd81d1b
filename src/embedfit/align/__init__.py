"""Embedding to embedding: is there a mapping, which one, and what it does to a search index."""

from __future__ import annotations

__all__ = ["Alignment", "Curve", "Descent", "Fit", "align", "descend", "migrate"]

from embedfit.align.alignment import Alignment, Fit, align
from embedfit.align.descent import Curve, Descent, descend
from embedfit.align.migrate import migrate
