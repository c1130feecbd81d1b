"""`Recipe`: every setting of a run, as one TOML file. "auto" means that the data decides (engine/defaults.py).

A setting lives in `sections` once: its default, its range and its one-line description, from which `embedfit init`
writes the comments, `--set key=value` checks its keys, and a prescription of the doctor is a patch.
"""

from embedfit.recipe.duration import Duration
from embedfit.recipe.sections import Auto, LossSection, NegativesSection, Recipe, StageSection
from embedfit.recipe.table import build, describe, from_toml, keys, parse_change, patch, to_toml

__all__ = [
    "Auto",
    "Duration",
    "LossSection",
    "NegativesSection",
    "Recipe",
    "StageSection",
    "build",
    "describe",
    "from_toml",
    "keys",
    "parse_change",
    "patch",
    "to_toml",
]
