"""Parameters to groups, steps to learning rates, weights to averages."""

from embedfit.optim.average import Average
from embedfit.optim.groups import Group, groups
from embedfit.optim.kinds import Kind
from embedfit.optim.optimiser import Optimiser
from embedfit.optim.schedule import Schedule, factor

__all__ = ["Average", "Group", "Kind", "Optimiser", "Schedule", "factor", "groups"]
