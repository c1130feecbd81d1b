"""What "auto" becomes. Chosen by measurement, not by taste: docs/defaults.md shows the table and its command."""

from __future__ import annotations

__all__ = ["FAMILIES", "Chosen", "Family", "choose", "family_of", "kind_for", "temperature_for"]

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from embedfit.data.batches import steps_per_epoch
from embedfit.data.examples import Examples
from embedfit.engine.bring import met
from embedfit.engine.objective import Asked, asked
from embedfit.pairs import Kind
from embedfit.recipe import Duration, Recipe

FamilyName = Literal["bag", "recurrent", "transformer", "pretrained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What towers of one family have in common.

    Attributes:
        anchor: learning rate at which the learning-rate test of AdamW begins.
        prototype_scale: learning-rate factor of class prototypes.
        batch_size: queries in a step, by kind of data.
        epochs: by kind of data.
        average: share of the run that the average of the weights looks back.
        least_steps: a small set is seen more often, so that a schedule has room to act.
        most_examples: a large set is seen less often, until so many examples have been seen.
        trust_end: held-out readings move by their noise alone long before training is done; later weights that are no
            worse than the best by more than that are preferred.
        betas: of AdamW.
        label_smoothing: share of the target given to all candidates alike.
        layer_decay: factor of the learning rate from each layer to the one below; the lower layers of a pretrained
            encoder hold what all texts share.
    """

    anchor: float
    prototype_scale: float
    batch_size: Mapping[Kind, int]
    epochs: Mapping[Kind, int]
    average: float
    least_steps: int = 200
    most_examples: float = math.inf
    trust_end: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    label_smoothing: float = 0.0
    layer_decay: float = 1.0


def _same(batch_size: int) -> dict[Kind, int]:
    return dict.fromkeys(get_args(Kind), batch_size)


FAMILIES: Mapping[FamilyName, Family] = {
    "bag": Family(
        anchor=3e-3, prototype_scale=1.0, batch_size=_same(128), average=0.0, betas=(0.9, 0.99),
        epochs={"classes": 9, "pairs": 10, "clicks": 10, "graded": 10, "collection": 6},
    ),
    "recurrent": Family(
        anchor=1e-3, prototype_scale=3.0, batch_size=_same(128), average=0.1,
        epochs={"classes": 20, "pairs": 20, "clicks": 20, "graded": 10, "collection": 10},
    ),
    "transformer": Family(
        anchor=3e-4, prototype_scale=10.0, batch_size=_same(64), average=0.1,
        epochs={"classes": 20, "pairs": 20, "clicks": 20, "graded": 10, "collection": 10},
    ),
    "pretrained": Family(
        anchor=1e-4, prototype_scale=50.0, batch_size={**_same(64), "classes": 32, "graded": 32}, average=0.0,
        label_smoothing=0.05, layer_decay=0.9, least_steps=60, trust_end=True, most_examples=60_000.0,
        epochs={"classes": 6, "pairs": 5, "clicks": 5, "graded": 4, "collection": 3},
    ),
}  # fmt: skip

# usual rate in multiples of AdamW's: clipped gradients are as long as 1 in all, steps of Adam and its kin as long as 1
# in each number
ANCHOR = {"sgd": 100.0, "adagrad": 3.0, "rmsprop": 0.3}
EVALUATIONS = 12  # over the run; early stopping cannot see between them


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Settings of a run with nothing left open but the learning rate, which needs a test.

    Attributes:
        asked: of the objective.
        batch_size: queries in a step.
        steps: length of the run.
        steps_per_epoch: steps that see every example once; of several accumulated batches, if it is to be.
        warmup: steps.
        average: share of the run.
        evaluate_every: steps.
        checkpoint_every: steps; None: each minute.
        betas: of AdamW.
        trust_end: see `Family`.
        prototype_scale: learning-rate factor of class prototypes.
        layer_decay: factor of the learning rate from layer to layer.
        anchor: usual learning rate of the towers with the optimiser; the learning-rate test begins there.
        candidates: documents each query is compared with, the positive included.
    """

    asked: Asked
    batch_size: int
    steps: int
    steps_per_epoch: int
    warmup: int
    average: float
    evaluate_every: int
    checkpoint_every: int | None
    betas: tuple[float, float]
    trust_end: bool
    prototype_scale: float
    layer_decay: float
    anchor: float
    candidates: int

    @property
    def loss(self) -> str:
        """Name of the objective."""
        return self.asked.kind

    @property
    def temperature(self) -> float:
        """Of the objective."""
        return self.asked.temperature

    def facts(self) -> dict[str, Any]:
        """As `chosen.*` facts, without what the loss has no use for."""
        own = {f"chosen.{k}": v for k, v in dataclasses.asdict(self).items() if k != "asked"}
        return {**self.asked.facts(), **own}


def family_of(kind: str) -> FamilyName:
    """The family of a tower kind; whatever is no kind of ours is a pretrained encoder."""
    families: Mapping[str, FamilyName] = {
        "static": "bag", "ngram": "bag", "gru": "recurrent", "lstm": "recurrent", "transformer": "transformer",
    }  # fmt: skip
    return families.get(kind, "pretrained")


def kind_for(wanted: str) -> str:
    """The tower where none is asked for."""
    return "ngram" if wanted == "auto" else wanted


def loss_for(kind: Kind, *, prototypes: bool = True) -> str:
    """The objective of a kind of data; `prototypes`: whether classes are learned as such."""
    if kind == "graded":
        return "cosine"
    return "prototypes" if kind == "classes" and prototypes else "infonce"


def temperature_for(candidates: int) -> float:
    """Temperature that follows from the number of candidates C: 1 / (2 ln(99 (C - 1))).

    1 / ln(99 (C - 1)) gives a positive at cosine 1 among orthogonal negatives a probability of .99. Negatives that
    matter are not orthogonal but about half as far away, hence the factor of two. The floor of the loss is then far
    below 5 % of chance: .057 (scale 17) for 64 candidates, .049 (20) for 256, .039 (26) for 4,096.
    """
    return 1 / (2 * math.log(99 * max(1, candidates - 1)))


def choose(
    recipe: Recipe, data: Examples, kind: Kind, family: Family, *, steps: int | None = None, count: int | None = None
) -> Chosen:
    """Settle every "auto" that needs no test.

    Args:
        recipe: the settings.
        data: the examples.
        kind: of the rows.
        family: of the towers.
        steps: of the run, where its stages have settled that.
        count: rows that the examples are a sample of; a run then sees each once, unless it is told otherwise.

    Raises:
        RecipeError: a setting was given that the loss does not have.
    """
    optim = recipe.optim
    loss = loss_for(kind, prototypes=data.catalogue) if recipe.loss.kind == "auto" else recipe.loss.kind
    sampled, count = count is not None, count or len(data)
    batch_size = family.batch_size[kind] if optim.batch_size == "auto" else optim.batch_size
    batch_size = max(2, min(batch_size, count))
    per_epoch = max(1, round(steps_per_epoch(count, batch_size) / optim.accumulate))
    in_step = batch_size * optim.accumulate
    if steps is None and optim.length == "auto":
        wanted = min(family.epochs[kind] * per_epoch, family.most_examples / in_step)
        steps = per_epoch if sampled else max(round(wanted), family.least_steps)
    elif steps is None:
        steps = Duration.steps(optim.length, steps_per_epoch=per_epoch, batch_size=in_step)

    def duration(text: str, share: float) -> int:
        if text == "auto":
            return max(1, round(steps * share))
        return max(1, Duration.steps(text, steps_per_epoch=per_epoch, batch_size=in_step, total=steps))

    documents = count if sampled else len(data.document_texts)
    every = data.catalogue and recipe.negatives.kind == "in_batch"
    candidates = documents if every else max(2, min(documents, met(recipe, data, batch_size)))
    settled = asked(
        recipe.loss,
        loss,
        candidates=candidates,
        temperature=temperature_for(candidates),
        label_smoothing=family.label_smoothing,
    )
    return Chosen(
        asked=settled,
        batch_size=batch_size,
        steps=steps,
        steps_per_epoch=per_epoch,
        warmup=Duration.steps(optim.warmup, steps_per_epoch=per_epoch, batch_size=in_step, total=steps),
        average=family.average if optim.average == "auto" else optim.average,
        evaluate_every=duration(recipe.run.evaluate_every, 1 / EVALUATIONS),
        checkpoint_every=None if recipe.run.checkpoint_every == "auto" else duration(recipe.run.checkpoint_every, 1.0),
        betas=family.betas,
        trust_end=family.trust_end,
        prototype_scale=family.prototype_scale,
        layer_decay=family.layer_decay if optim.layer_decay == "auto" else optim.layer_decay,
        anchor=family.anchor * ANCHOR.get(optim.kind, 1.0),
        candidates=candidates,
    )
