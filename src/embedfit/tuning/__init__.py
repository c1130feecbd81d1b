"""A search on a part of the data, carried to the whole."""

from embedfit.tuning.searching import Trial, Tuned, tune

__all__ = ["Trial", "Tuned", "tune"]
