"""Settings that exclude each other, or the rows."""

from __future__ import annotations

__all__ = ["check_halves", "check_loss", "check_rates", "check_stream", "check_towers", "check_warmup", "nested"]

from embedfit.data.examples import Examples
from embedfit.engine.objective import OBJECTIVES
from embedfit.errors import RecipeError
from embedfit.recipe import Recipe
from embedfit.towers import Tower, TwoTower


def check_loss(loss: str, recipe: Recipe, data: Examples) -> None:
    """Refuse an objective that these rows have no use for.

    Raises:
        RecipeError: see above.
    """
    graded, alone = data.target is not None, recipe.negatives.meet == "own"
    if graded != (OBJECTIVES[loss].rows == "graded") or (loss == "prototypes" and not data.catalogue):
        fits = [
            name
            for name, kind in OBJECTIVES.items()
            if graded == (kind.rows == "graded") and (name != "prototypes" or data.catalogue or data.partners)
        ]
        raise RecipeError(
            f"loss.kind '{loss}' does not fit {'graded' if graded else 'these'} rows; expected {', '.join(fits)}",
            hint='leave loss.kind at "auto"',
        )
    if loss == "logq" and data.catalogue and recipe.negatives.kind != "mixed":
        raise RecipeError(
            "every text meets the prototypes of all classes, so that no sampling is to be corrected (logq)",
            hint='set loss.kind = "prototypes", or negatives.kind = "mixed" to draw classes',
        )
    if loss == "logq" and (recipe.negatives.kind == "mined" or (alone and data.negatives.shape[1])):
        found = "those mined" if recipe.negatives.kind == "mined" else "the negative columns, which alone are met"
        raise RecipeError(
            f"loss.kind 'logq' corrects for how likely each document was brought, and nobody knows it of {found}",
            hint='set loss.kind = "infonce", or negatives.kind = "random", "mixed" or "queue" and no other',
        )
    if OBJECTIVES[loss].alone and data.catalogue:
        raise RecipeError(
            f"loss.kind '{loss}' is of pairs of texts, and these are compared with prototypes",
            hint='leave loss.against at "auto"',
        )
    if recipe.loss.against == "prototypes" and not data.catalogue:
        raise RecipeError(
            'loss.against is "prototypes", and these rows have no classes', hint='leave loss.against at "auto"'
        )


def check_halves(loss: str, tower: Tower) -> None:
    """Refuse an embedding that has no two halves, where a loss reads them as a complex vector.

    Raises:
        RecipeError: see above.
    """
    if loss == "angle" and tower.dimension % 2:
        raise RecipeError(
            f"loss.kind 'angle' reads an embedding as two halves, and it has {tower.dimension} dimensions",
            hint='set model.dimension to an even number, or loss.kind = "cosent"',
        )


def check_warmup(recipe: Recipe, warmup: int, steps: int) -> None:
    """Refuse a warmup that the run ends in.

    Raises:
        RecipeError: see above.
    """
    if warmup > steps:
        raise RecipeError(
            f"optim.warmup is '{recipe.optim.warmup}', {warmup:,} steps, and the run has {steps:,}",
            hint="the learning rate would never be reached: make the warmup a share of the run, such as 6%",
        )


def check_towers(recipe: Recipe, towers: TwoTower | None, data: Examples) -> None:
    """Refuse a document tower beside prototypes.

    Raises:
        RecipeError: see above.
    """
    if data.catalogue and not (recipe.model.shared if towers is None else towers.shared):
        raise RecipeError(
            "class prototypes take the place of a document tower, and a second tower was asked for",
            hint='leave model.shared at true, or set loss.kind = "infonce"',
        )


def check_rates(recipe: Recipe, towers: TwoTower) -> None:
    """Refuse a rate for a tower that is not there.

    Raises:
        RecipeError: see above.
    """
    if towers.shared and "document" in recipe.optim.rates:
        raise RecipeError(
            "optim.rates has a rate for the document tower, and one tower embeds queries and documents",
            hint="set the rate of 'query', or model.shared = false",
        )


def check_stream(recipe: Recipe) -> None:
    """Refuse what needs all rows at hand, where they are read in parts.

    Raises:
        RecipeError: see above.
    """
    negatives, loss = recipe.negatives, recipe.loss
    asked = {
        f'negatives.kind = "{negatives.kind}"': negatives.kind != "in_batch",
        'negatives.meet = "own"': negatives.meet == "own",
        "negatives.teacher": bool(negatives.teacher),
        'loss.kind = "logq"': loss.kind == "logq",
        'loss.views = "dropout"': loss.views == "dropout",
    }
    refused = [name for name, there in asked.items() if there]
    if refused:
        raise RecipeError(
            f"{', '.join(refused)}: needs all rows at hand, and these are read in parts",
            hint="set data.stream = false if memory holds them, or raise optim.batch_size for more negatives",
        )


def nested(recipe: Recipe, towers: TwoTower) -> tuple[int, ...]:
    """The prefixes that have a loss of their own.

    Raises:
        RecipeError: the embedding cannot be cut there.
    """
    wide = [size for size in recipe.loss.nested if size >= towers.dimension]
    if recipe.loss.nested and (towers.query.parts > 1 or wide):
        why = f"it has {towers.dimension} dimensions" if wide else "it is several embeddings of equal size end to end"
        raise RecipeError(
            f"loss.nested is {list(recipe.loss.nested)}, and the embedding cannot be cut there: {why}",
            hint="take smaller prefixes" if wide else 'take another tower, for example model.kind = "static"',
        )
    return recipe.loss.nested
