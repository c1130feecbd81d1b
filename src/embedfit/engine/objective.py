"""From settings to the objective of a run: which there are, and what each is set by."""

from __future__ import annotations

__all__ = ["OBJECTIVES", "Asked", "Kind", "asked", "make_loss", "penalties", "refuse"]

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from embedfit.engine.penalty import Penalties
from embedfit.errors import RecipeError
from embedfit.losses import (
    BYOL,
    DCL,
    Additive,
    AnglE,
    Angular,
    Circle,
    CoSENT,
    CosineRegression,
    Debiased,
    Diameter,
    Focal,
    Hinge,
    Homotopy,
    InfoNCE,
    Least,
    LogQ,
    Loss,
    Margin,
    Multiple,
    PairLoss,
    Sigmoid,
    SimSiam,
    SoftmaxHead,
    Symmetric,
    TargetProbability,
    Temperature,
)
from embedfit.losses.ranking import Which
from embedfit.losses.regularise import Covariance, Regulariser, Uniformity, Variance
from embedfit.probes.attainable import orthogonal_probability, widest_margin
from embedfit.recipe import LossSection
from embedfit.towers import Tower


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Settings of an objective with nothing left open; see `LossSection` for what each means."""

    kind: str
    directions: Literal["both", "documents"]
    candidates: int
    temperature: float
    learned: bool
    coldest: float
    margin: float
    margin_kind: Literal["additive", "diameter", "angular", "multiple", "least"]
    label_smoothing: float
    target: float
    target_form: Literal["squared", "clipped"]
    prior: float
    focus: float
    power: float
    negatives: Which
    positive_too: bool
    grades: int
    decay: float
    stop: bool

    def warmth(self) -> Temperature:
        """The temperature, learned or not."""
        return Temperature(self.temperature, learned=self.learned)

    def facts(self) -> dict[str, Any]:
        """As `chosen.*`, without what the loss has no use for."""
        named = {name: getattr(self, name) for name in OBJECTIVES[self.kind].options}
        if self.margin_kind == "diameter":
            named.pop("margin", None)  # a share of what is measured; the reading "margin" says what it comes to
        return {"chosen.loss": self.kind, **{f"chosen.{name}": value for name, value in named.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One objective.

    Attributes:
        make: builds it, for what a tower of queries embeds.
        options: settings of `LossSection` that it is made with.
        rows: what it learns from: pairs that meet others in a batch, or graded pairs.
        directions: whether queries look for documents alone, or documents for queries too, unless the recipe says.
        alone: a pair meets no other document, so that prototypes and brought negatives are without effect.
        margin: where the recipe leaves it open.
        temperature: ditto; None: from the number of candidates.
    """

    make: Callable[[Asked, Tower], Loss | PairLoss]
    options: tuple[str, ...] = ()
    rows: Literal["pairs", "graded"] = "pairs"
    directions: Literal["both", "documents"] = "both"
    alone: bool = False
    margin: float = 0.0
    temperature: float | None = None


def _margin(a: Asked, tower: Tower) -> Margin:
    match a.margin_kind:
        case "diameter":
            return Diameter(a.margin, widest_margin(a.candidates, tower.dimension))
        case "angular":
            return Angular(a.margin)
        case "multiple":
            return Multiple(_whole(a.margin))
        case "least":
            return Least(_whole(a.margin))
    return Additive(a.margin)


def _whole(margin: float) -> int:
    if margin != int(margin):
        raise ValueError(f"a multiple of an angle must be a whole number from 1 to 8, got {margin}")
    return int(margin)


WARM = ("temperature", "learned")
SOFTMAX = (*WARM, "margin", "margin_kind", "label_smoothing")


OBJECTIVES: Mapping[str, Kind] = {
    "infonce": Kind(make=lambda a, tower: InfoNCE(a.warmth(), _margin(a, tower), a.label_smoothing), options=SOFTMAX),
    "prototypes": Kind(
        make=lambda a, tower: InfoNCE(a.warmth(), _margin(a, tower), a.label_smoothing), options=SOFTMAX,
        directions="documents",
    ),
    "dcl": Kind(make=lambda a, _: DCL(a.warmth()), options=WARM),
    "debiased": Kind(make=lambda a, _: Debiased(a.warmth(), a.prior), options=(*WARM, "prior")),
    "focal": Kind(make=lambda a, _: Focal(a.warmth(), a.focus), options=(*WARM, "focus")),
    "target": Kind(
        make=lambda a, _: TargetProbability(a.warmth(), a.target, clipped=a.target_form == "clipped"),
        options=(*WARM, "target", "target_form"), temperature=1.0,
    ),
    "logq": Kind(
        make=lambda a, _: LogQ(a.warmth(), positive_too=a.positive_too), options=(*WARM, "positive_too"),
        directions="documents",
    ),
    "sigmoid": Kind(
        make=lambda a, _: Sigmoid(a.warmth(), bias=-math.log(max(1, a.candidates - 1))), options=WARM,
        directions="documents", temperature=0.1,
    ),
    "bce": Kind(
        make=lambda a, _: Sigmoid(a.warmth(), bias=0.0, power=a.power), options=(*WARM, "power"),
        directions="documents", temperature=0.1,
    ),
    "hinge": Kind(make=lambda a, _: Hinge(a.margin, a.negatives), options=("margin", "negatives"), margin=0.2),
    "triplet": Kind(
        make=lambda a, _: Hinge(a.margin, a.negatives, distance=True), options=("margin", "negatives"), margin=0.3
    ),
    "homotopy": Kind(
        make=lambda a, _: Homotopy(a.temperature, a.coldest, a.margin), options=("temperature", "coldest", "margin"),
        margin=0.2,
    ),
    "circle": Kind(
        make=lambda a, _: Circle(a.temperature, a.margin), options=("temperature", "margin"), margin=0.25,
        temperature=1 / 80,
    ),
    "cosine": Kind(make=lambda a, _: CosineRegression(), rows="graded"),
    "cosent": Kind(make=lambda a, _: CoSENT(a.temperature), options=("temperature",), rows="graded", temperature=0.05),
    "angle": Kind(
        make=lambda a, _: AnglE(a.temperature), options=("temperature",), rows="graded", temperature=0.05
    ),
    "softmax_head": Kind(
        make=lambda a, tower: SoftmaxHead(tower.dimension, a.grades), options=("grades",), rows="graded"
    ),
    "simsiam": Kind(make=lambda a, tower: SimSiam(tower.dimension, stop=a.stop), options=("stop",), alone=True),
    "byol": Kind(
        make=lambda a, tower: BYOL(tower.dimension, copy.deepcopy(tower), a.decay), options=("decay",), alone=True
    ),
}  # fmt: skip
"""Every objective by its name in a recipe."""


def asked(section: LossSection, kind: str, *, candidates: int, temperature: float, label_smoothing: float) -> Asked:
    """Settle what a recipe leaves open.

    Args:
        section: as given.
        kind: the objective.
        candidates: documents each query is compared with.
        temperature: that follows from them.
        label_smoothing: the family's.

    Raises:
        RecipeError: a setting was given that the loss does not have.
    """
    refuse(section, kind)
    of = OBJECTIVES[kind]
    automatic = temperature if of.temperature is None else of.temperature
    warmth = automatic if section.temperature == "auto" else section.temperature
    return Asked(
        kind=kind,
        directions=of.directions if section.directions == "auto" else section.directions,
        candidates=candidates,
        temperature=warmth,
        learned=section.learned,
        coldest=warmth / 10 if section.coldest == "auto" else section.coldest,
        margin=automatic_margin(of, section) if section.margin == "auto" else section.margin,
        margin_kind=section.margin_kind,
        label_smoothing=label_smoothing if section.label_smoothing == "auto" else section.label_smoothing,
        target=orthogonal_probability(candidates, warmth) if section.target == "auto" else section.target,
        target_form=section.target_form,
        prior=section.prior,
        focus=section.focus,
        power=max(1.0, math.log2(candidates)) if section.power == "auto" else section.power,
        negatives=section.negatives,
        positive_too=section.positive_too,
        grades=section.grades,
        decay=section.decay,
        stop=section.stop,
    )


def automatic_margin(of: Kind, section: LossSection) -> float:
    """Where the recipe leaves it open: that of the objective, or half the diameter of a class.

    The whole of it, which the worst case of the triangle inequality asks for, is wider than a sphere has room for while
    classes are wide, so that the margin stays at its bound (`python -m studies.unseen` has both).
    """
    return 0.5 if section.margin_kind == "diameter" else of.margin


def refuse(section: LossSection, kind: str) -> None:
    """A setting without any effect is a misunderstanding: say so, instead of training without it.

    Raises:
        RecipeError: a setting was given that the loss does not have.
    """
    of = OBJECTIVES[kind]
    if section.margin_kind == "diameter" and section.views == "dropout":
        raise RecipeError(
            'loss.margin_kind is "diameter", and with loss.views = "dropout" every text is a class of its own',
            hint="leave loss.views at rows, or give loss.margin",
        )
    for name, field in LossSection.model_fields.items():
        value = getattr(section, name)
        if name in (*of.options, *EVERY) or value in (field.default, "auto") or (name in NOTHING and value == 0):
            continue
        others = [other for other, its in OBJECTIVES.items() if name in its.options and its.rows == of.rows]
        also = f', or set loss.kind = "{others[0]}"' if others else ""
        said = f"{value:g}" if isinstance(value, float) else json.dumps(value)
        raise RecipeError(
            f"loss.{name} is {said}, and the loss '{kind}' has no {name.replace('_', ' ')}",
            hint=f"leave loss.{name} at {json.dumps(field.default)}{also}",
        )


REGULARISERS: Mapping[str, type[Regulariser]] = {
    "uniformity": Uniformity,
    "variance": Variance,
    "covariance": Covariance,
}
EVERY = ("kind", "against", "directions", "views", "nested", "spectral", *REGULARISERS)  # settings of every objective
NOTHING = ("margin", "label_smoothing")  # settings of which 0 asks for nothing


def make_loss(settled: Asked, tower: Tower, *, symmetric: bool) -> Loss | PairLoss:
    """The objective of a run.

    Args:
        settled: what is asked for.
        tower: that embeds the queries.
        symmetric: whether documents meet other queries than their own at all (prototypes do not).

    Raises:
        RecipeError: a setting is out of the range of this loss.
    """
    of = OBJECTIVES[settled.kind]
    try:
        loss = of.make(settled, tower)
    except ValueError as error:
        raise RecipeError(f"loss.kind '{settled.kind}': {error}", hint="see the settings of the section loss") from None
    both = of.rows == "pairs" and settled.directions == "both" and symmetric
    return Symmetric(loss) if both and isinstance(loss, Loss) else loss


def penalties(section: LossSection) -> Penalties:
    """What a recipe asks of embeddings and weights beside the loss."""
    given = section.model_dump()
    return Penalties([(given[name], make()) for name, make in REGULARISERS.items() if given[name]], section.spectral)
