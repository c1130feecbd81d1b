"""Training: what "auto" becomes, one step, one loop, checkpoints."""

from embedfit.engine.fit import Fitted, Setup, fit, prepare

__all__ = ["Fitted", "Setup", "fit", "prepare"]
