"""How low the objective of a run can get, and where it stands when the embedding tells nothing apart."""

from __future__ import annotations

__all__ = ["levels", "loss_facts", "too_wide"]

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from embedfit.data.batches import rows_of
from embedfit.data.examples import Examples
from embedfit.engine.defaults import Chosen
from embedfit.engine.objective import OBJECTIVES, Asked
from embedfit.losses import Loss, PairLoss, Sigmoid, Softmax, one_direction
from embedfit.losses.temperature import COLDEST, Temperature
from embedfit.probes.attainable import Points, collapsed, lowest, widest_angle, widest_margin
from embedfit.probes.floor import cosent_chance, cosent_floor
from embedfit.scores import Rivals, Scores

GRADES = 20  # steps on the scale of grades that the levels of CoSENT's loss are worked out with
CELLS = 1_000_000  # looked at together


def loss_facts(
    loss: Loss | PairLoss, chosen: Chosen, data: Examples, *, brought: bool, dimension: int
) -> dict[str, float]:
    """Facts `loss.*` of a run.

    Args:
        loss: its objective.
        chosen: its settings.
        data: its examples.
        brought: whether documents are brought to its batches besides their own.
        dimension: e of an embedding.
    """
    if data.target is not None:
        floor, chance = _graded(chosen, data.target)
        return {"loss.floor": floor, "loss.chance": chance}
    if isinstance(loss, PairLoss):  # minus a cosine; unrelated directions have 0, collapsed ones -1 like perfect ones
        return {"loss.floor": -1.0, "loss.chance": 0.0}
    estimated = chosen.loss == "logq" and not chosen.asked.positive_too and not data.catalogue
    if estimated:  # the softmax over the catalogue, however its negatives are brought
        met = float(len(data.document_texts))
    else:
        met = float(chosen.candidates) if brought else _candidates_met(chosen, data)
    floor, chance = levels(loss, met)
    return {
        "loss.candidates": met,
        "loss.floor": floor,
        "loss.chance": chance,
        **_widest(chosen.asked, met, dimension),
    }


def _widest(asked: Asked, candidates: float, dimension: int) -> dict[str, float]:
    """The largest margin that unit vectors can meet, in the measure of the loss; nothing of losses without a lead."""
    if asked.kind == "triplet":
        return {"loss.widest_margin": math.sqrt(2 * widest_margin(candidates, dimension))}
    angular = "margin_kind" in OBJECTIVES[asked.kind].options and asked.margin_kind not in ("additive", "diameter")
    if asked.kind == "circle" or "margin" not in OBJECTIVES[asked.kind].options:
        return {}
    if not angular:
        return {"loss.widest_margin": widest_margin(candidates, dimension)}
    return {"loss.widest_margin": widest_angle(candidates, dimension)} if asked.margin_kind == "angular" else {}


def too_wide(facts: Mapping[str, Any]) -> str:
    """That the margin of a run is one that embeddings cannot meet, in words; empty where they can."""
    margin, widest = facts.get("chosen.margin", 0.0), facts.get("loss.widest_margin", math.inf)
    if margin <= widest:
        return ""
    return f"margin {margin:.3g} is more than every query can be given at once, {widest:.3g}: the loss stays above 0"


def levels(loss: Loss, candidates: float) -> tuple[float, float]:
    """Floor of a loss of rows, and its level when all candidates look alike.

    Args:
        loss: a learned temperature counts as the lowest it may reach, a falling one as its last, and a learned bias as
            the best there is, in the floor.
        candidates: documents each query is compared with, on average.
    """
    inner = one_direction(loss)
    end = copy.deepcopy(inner)
    end.at(1.0)
    if isinstance(end, Softmax | Sigmoid) and end.temperature.learned:
        end.temperature = Temperature(COLDEST)
    if isinstance(end, Sigmoid) and end.bias.requires_grad:
        end.bias.data.fill_(_best_bias(end, candidates - 1))
    return lowest(_row(end, candidates - 1), candidates), collapsed(_row(inner, candidates - 1))


def _best_bias(loss: Sigmoid, others: float) -> float:
    """Where a learned bias makes the loss lowest: on a simplex, whose cosines are as far apart as they get."""
    moved = copy.deepcopy(loss)

    def at(bias: float) -> float:
        moved.bias.data.fill_(bias)
        return float(_row(moved, others)(np.ones(1), np.full(1, -1 / max(1.0, others)))[0])

    reach = 2 * float(loss.temperature.scale)  # twice the largest logit
    return float(minimize_scalar(at, bounds=(-reach, reach), method="bounded").x)


def _row(loss: Loss, others: float) -> Callable[[Points, Points], Points]:
    """Loss of a query whose positive has one cosine and whose negatives all have another."""

    @torch.no_grad()
    def of(p: Points, n: Points) -> Points:
        positive, negative = torch.from_numpy(p).double(), torch.from_numpy(n).double()
        if isinstance(loss, Softmax):
            return np.asarray(_of_softmax(loss, positive, negative, others).numpy())
        rows = max(1, int(CELLS / others))
        parts = zip(positive.split(rows), negative.split(rows), strict=True)
        return np.concatenate([_of_scores(loss, *part, max(1, round(others))).numpy() for part in parts])

    return of


def _of_softmax(loss: Softmax, positive: Tensor, negative: Tensor, others: float) -> Tensor:
    scale = loss.scale.double().to(positive.device)
    logits = negative * scale
    around = Rivals(logsumexp=logits + math.log(others), mean=logits, count=torch.full_like(logits, others))
    return loss.of(positive * scale, around)


def _of_scores(loss: Loss, positive: Tensor, negative: Tensor, others: int) -> Tensor:
    values = torch.cat([positive[:, None], negative[:, None].expand(-1, others)], 1)
    own = torch.zeros_like(values, dtype=torch.bool)
    own[:, 0] = True
    return loss(Scores(values, own, torch.ones_like(own)))


def _graded(chosen: Chosen, target: Tensor) -> tuple[float, float]:
    match chosen.loss:
        case "cosine":
            return 0.0, float(target.var(correction=0))
        case "softmax_head":
            share = torch.bincount((target * (chosen.asked.grades - 1)).round().long()).double() / len(target)
            return 0.0, float(torch.special.entr(share).sum())
    grades = torch.unique((target * GRADES).round(), return_counts=True)[1].double()
    counts = [max(1, round(share * chosen.batch_size)) for share in (grades / grades.sum()).tolist()]
    parts = 2 if chosen.loss == "angle" else 1  # the angle spreads over less than the cosine does
    return parts * cosent_floor(counts, chosen.temperature), parts * cosent_chance(counts)


def _candidates_met(chosen: Chosen, data: Examples) -> float:
    """Different documents in a batch, on average over the first batches: frequent ones meet each other there."""
    if data.catalogue:
        return float(chosen.candidates)
    steps = range(min(20, chosen.steps_per_epoch))
    rows = [rows_of(step, len(data), batch_size=chosen.batch_size, seed=0) for step in steps]
    met = []
    for part in rows:
        brought = data.negatives[part]
        met.append(torch.unique(torch.cat([data.positive[part], brought[brought >= 0]])).numel())
    return max(2.0, sum(met) / len(met))
