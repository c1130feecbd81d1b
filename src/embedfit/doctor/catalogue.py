"""Every check there is, by code. A new check is one class in its family's file and one line here."""

from __future__ import annotations

__all__ = ["CHECKS", "explain", "select"]

from collections.abc import Iterable
from difflib import get_close_matches

from embedfit.doctor.check import Check
from embedfit.doctor.checks import (
    arrival,
    brought,
    costs,
    data,
    demanded,
    documents,
    evaluation,
    forward,
    further,
    geometry,
    hopeless,
    inputs,
    limits,
    losses,
    measure,
    negatives,
    numerics,
    objective,
    optimisation,
    overfit,
    pairing,
    rates,
    rows,
    teacher,
    update,
)  # fmt: skip
from embedfit.errors import EmbedfitError

CHECKS: tuple[Check, ...] = (
    data.DuplicateRows(),
    data.ConflictingLabels(),
    data.ClassOrderedRows(),
    data.TrainDevLeakage(),
    data.TruncatedTexts(),
    data.ManyTinyClasses(),
    costs.CostlyOrder(),
    measure.NarrowData(),
    pairing.ConstantInputs(),
    rows.UnscaledInputs(),
    rows.FewDifferentRows(),
    rows.ForeignVocabulary(),
    pairing.MisalignedRows(),
    pairing.MixedWithinBatches(),
    pairing.UnrelatedPairs(),
    pairing.NoisyPairs(),
    measure.WorseThanHeldOut(),
    further.LearnedByHeart(),
    further.SwappedRoles(),
    negatives.FalseNegativesInBatch(),
    brought.UnmaskedNegatives(),
    negatives.NoNegatives(),
    brought.CostlyNegatives(),
    demanded.FewCandidates(),
    demanded.HardestOnly(),
    documents.UnknownPopularity(),
    brought.NegativesOfTheOwnKind(),
    losses.UnreachableLoss(),
    losses.LossAtChance(),
    losses.PinnedLoss(),
    objective.Reversed(),
    objective.Probabilities(),
    objective.WrongTarget(),
    objective.OwnMasked(),
    objective.WrongAxis(),
    limits.Sharp(),
    limits.UnreachableMargin(),
    costs.CostlyLoss(),
    demanded.CollapseRewarded(),
    geometry.DimensionalCollapse(),
    geometry.OneDirection(),
    hopeless.LastingCollapse(),
    documents.Hubs(),
    forward.WrongMode(),
    inputs.BatchDependence(),
    forward.OneSidedOutput(),
    forward.Bottleneck(),
    forward.WeakTowers(),
    costs.CostlyFreezing(),
    costs.CostlyDropout(),
    costs.CostlyMode(),
    brought.CostlyArchitecture(),
    arrival.LostWeights(),
    arrival.OddWeights(),
    further.UnstoredState(),
    inputs.UnreadInputs(),
    inputs.PaddingDependence(),
    optimisation.UnmovedWeights(),
    optimisation.ExplodingSteps(),
    optimisation.StoppedEarlyInTraining(),
    update.ForgottenParameters(),
    update.Unreached(),
    update.StaleGradients(),
    update.NeverSteps(),
    rates.StrongDecay(),
    rates.ScheduledToZero(),
    costs.CostlyOptimiser(),
    rates.RateTooLow(),
    rates.RateTooHigh(),
    further.CannotFitOneBatch(),
    rates.TightClip(),
    numerics.NonFiniteLoss(),
    update.GradientUnderflow(),
    costs.CostlyPrecision(),
    numerics.CoarseEmbeddings(),
    demanded.OutOfReach(),
    teacher.UnreliableTeacher(),
    evaluation.BelowLexical(),
    evaluation.Overfitting(),
    evaluation.TooFewDevQueries(),
    measure.BlindMetric(),
    measure.UnsteadyMetric(),
    hopeless.MetricAtChance(),
    arrival.IgnoredTower(),
    overfit.Overfitted(),
)


def select(codes: Iterable[str] = ()) -> tuple[Check, ...]:
    """The checks whose code begins with, or whose name is, any of `codes`; all of them without codes.

    Raises:
        EmbedfitError: a code that fits no check.
    """
    wanted = tuple(codes)
    for code in wanted:
        if not any(_fits(check, code) for check in CHECKS):
            raise _unknown(code)
    return tuple(check for check in CHECKS if not wanted or any(_fits(check, code) for code in wanted))


def explain(code: str) -> str:
    """The page of one check, in Markdown, with its thresholds filled in.

    Raises:
        EmbedfitError: a code that fits no check, or several.
    """
    found = select((code,))
    if len(found) > 1:
        raise EmbedfitError(f"'{code}' fits {len(found)} checks", hint=f"one of {', '.join(c.code for c in found)}")
    return found[0].page


def _fits(check: Check, code: str) -> bool:
    return bool(code) and (check.code.startswith(code.upper()) or check.name == code.lower())


def _unknown(code: str) -> EmbedfitError:
    near = get_close_matches(code.upper(), [c.code for c in CHECKS], n=1, cutoff=0.6)
    near = near or get_close_matches(code.lower(), [c.name for c in CHECKS], n=1)
    families = ", ".join(dict.fromkeys(c.code[:3] for c in CHECKS))
    hint = f"did you mean '{near[0]}'?" if near else f"the families are {families}; `embedfit explain` lists all checks"
    return EmbedfitError(f"there is no check '{code}'", hint=hint)
