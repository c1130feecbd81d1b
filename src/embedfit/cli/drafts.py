"""A recipe for data, with comments: what was bound, and what "auto" would choose where that costs no training."""

from __future__ import annotations

__all__ = ["draft"]

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit

from embedfit.cli.sources import read_rows
from embedfit.data.examples import examples
from embedfit.engine.defaults import FAMILIES, Chosen, choose, family_of, kind_for
from embedfit.job import divide
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch, to_toml

HEADER = """# A recipe of embedfit: every setting of a run, with its default.
# Train with: embedfit train {name}
# Relative paths are relative to the folder in which that command is run, not to this file.
"""


def draft(data: Sequence[str], **how: Any) -> str:
    """The recipe as TOML.

    Args:
        data: files, folder or glob.
        **how: `columns`, `kind`, `on_bad_rows`, `encoding`.
    """
    pairs = read_rows(data, **how)
    bound = {role: column for role, column in pairs.binding.items() if pairs.kind != "collection"}
    change = {
        "data.files": list(data),
        "data.kind": pairs.kind,
        "data.columns": dict(how["columns"]) or bound,
        "data.on_bad_rows": how["on_bad_rows"],
        "data.encoding": how["encoding"],
    }
    recipe = patch(Recipe(), change)
    document = tomlkit.parse(HEADER.format(name="recipe.toml") + "\n" + to_toml(recipe, comments=True))
    for key, said in automatic(recipe, pairs).items():
        section, name = key.split(".")
        item = document[section].item(name)
        item.comment(f"{item.trivia.comment.removeprefix('# ')}; here: {said}")
    return tomlkit.dumps(document)


def automatic(recipe: Recipe, pairs: Pairs) -> Mapping[str, str]:
    """What "auto" becomes for these rows, by setting."""
    rows = divide(pairs, recipe.data.dev, seed=recipe.optim.seed)
    family = FAMILIES[family_of(kind_for(recipe.model.kind))]
    chosen: Chosen = choose(recipe, examples(rows.train), pairs.kind, family)
    warmth = {"loss.temperature": f"{chosen.temperature:.3g}, for {chosen.candidates:,} candidates"}
    return {
        "data.dev": f"{len(rows.dev or ()):,} rows",
        "loss.kind": chosen.loss,
        **(warmth if "chosen.temperature" in chosen.facts() else {}),
        "optim.batch_size": f"{chosen.batch_size}",
        "optim.length": f"{chosen.steps:,} steps, {chosen.steps / chosen.steps_per_epoch:.3g} epochs",
        "optim.learning_rate": f"the test begins at {chosen.anchor:g}",
        "run.evaluate_every": f"{chosen.evaluate_every} steps",
    }
