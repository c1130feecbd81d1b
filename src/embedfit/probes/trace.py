"""What a step computes between its embeddings and its loss, seen from outside: every call of torch is listened to.

Nothing is replaced. The scores that enter a softmax, a sigmoid or a hinge are explained by the similarities of the
embeddings: logit = scale * similarity + rest, which gives scale, sign, margin, masks and targets of anybody's loss.

Axes: n queries, m documents, of which document i belongs to query i.
"""

from __future__ import annotations

__all__ = ["Anatomy", "Call", "Listener", "anatomy"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize
from torch.overrides import TorchFunctionMode

SOFTMAX = ("cross_entropy", "log_softmax", "softmax", "logsumexp", "exp")
SIGMOID = ("binary_cross_entropy_with_logits", "logsigmoid", "softplus")
HINGE = ("relu", "clamp", "clamp_min", "relu_", "clamp_", "threshold", "maximum", "max")
READY_MADE = ("triplet_margin_loss", "margin_ranking_loss", "cosine_embedding_loss", "hinge_embedding_loss",
              "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")  # fmt: skip
MATRIX = ("matmul", "mm", "__matmul__", "__rmatmul__", "einsum", "bmm", "linear")
DROPOUT = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "dropout_")
HALVED = ("half", "bfloat16", "to", "type")
HEARD = frozenset((*SOFTMAX, *SIGMOID, *HINGE, *READY_MADE, *MATRIX, *DROPOUT, *HALVED))
LARGEST = 4_000_000  # cells of an operand that is kept

EXPLAINED = 0.999
"""Share of the variance of logits that a similarity has to explain to be called theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of torch.

    Attributes:
        name: of the function.
        inputs: its tensors, detached copies.
        options: its other arguments that are plain values.
        result: what came out, detached, where that is one tensor.
    """

    name: str
    inputs: tuple[Tensor, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    result: Tensor | None = None


class Listener(TorchFunctionMode):
    """Writes down the calls that make up a loss while it is entered.

    Attributes:
        calls: in the order in which they ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do what was asked and remember it."""
        given = dict(kwargs or {})
        result = func(*args, **given)
        name = getattr(func, "__name__", "")  # methods of tensors, functions and their wrappers alike
        if name in HEARD:
            self.calls.append(_call(name, args, given, result))
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What a loss does with the scores.

    Attributes:
        kind: softmax, sigmoid, hinge, regression or unknown.
        similarity: cosine, dot, distance or squared; what explains the scores best; empty where nothing does.
        explained: share of their variance that it explains.
        scale: logit per unit of similarity; negative where distance is taken for similarity.
        candidates: scores each query is compared by, masked ones not counted (mean over the queries).
        masked: share of the scores that were taken out.
        own_masked: share of the queries whose own document was taken out.
        own_target: share of the queries whose target is their own document; None where no target was seen.
        margin: subtracted from the own score, in units of the similarity.
        probabilities: whether what entered the softmax were already probabilities.
        unit_rows: mean norm of the rows that were compared.
        unit_columns: mean norm of their columns.
        bits: of the scores' number format.
        smoothing: label smoothing.
        active: share of the hinges that were above zero.
    """

    kind: str = "unknown"
    similarity: str = ""
    explained: float = 0.0
    scale: float = float("nan")
    candidates: float = float("nan")
    masked: float = 0.0
    own_masked: float = 0.0
    own_target: float | None = None
    margin: float = 0.0
    probabilities: bool = False
    unit_rows: float = float("nan")
    unit_columns: float = float("nan")
    bits: int = 32
    smoothing: float = 0.0
    active: float = float("nan")


def anatomy(calls: Sequence[Call], query: Float[Tensor, "n e"], document: Float[Tensor, "m e"]) -> Anatomy:
    """Explain the scores among the calls of a step by its embeddings.

    Args:
        calls: from `Listener.calls`.
        query: embeddings of the queries.
        document: embeddings of the documents.

    Returns:
        What was found; of kind "unknown" where no call could be explained.
    """
    q, d = query.detach().float(), document.detach().float()
    meetings = _meetings(q, d)
    probable = _probabilities(calls, len(q))
    for kind, names in (("softmax", SOFTMAX), ("sigmoid", SIGMOID), ("hinge", HINGE)):
        best: Anatomy | None = None
        for call in calls:
            if call.name in names and call.inputs:
                found = _explain(kind, call, meetings, calls)
                if found is not None and (best is None or found.explained > best.explained):
                    best = found
        if best is not None and best.explained > (0.5 if probable and kind == "softmax" else EXPLAINED):
            rows, columns = _operands(calls, q, d)
            return replace(best, probabilities=probable and kind == "softmax", unit_rows=rows, unit_columns=columns)
    named = [call.name for call in calls if call.name in READY_MADE]
    kinds = {"triplet_margin_loss": "hinge", "margin_ranking_loss": "hinge", "hinge_embedding_loss": "hinge",
             "cosine_embedding_loss": "hinge"}  # fmt: skip
    return Anatomy(kind=kinds.get(named[-1], "regression")) if named else Anatomy()


def _call(name: str, args: Sequence[Any], given: Mapping[str, Any], result: Any) -> Call:
    tensors = [a for a in [*args, *given.values()] if isinstance(a, Tensor) and a.numel() <= LARGEST]
    plain = {k: v for k, v in given.items() if isinstance(v, int | float | str | bool)}
    out = result.detach() if isinstance(result, Tensor) and result.numel() <= LARGEST else None
    return Call(name=name, inputs=tuple(t.detach().clone() for t in tensors), options=plain, result=out)


def _similarities(q: Tensor, d: Tensor) -> dict[str, Tensor]:
    if q.shape[1] != d.shape[1]:
        return {}
    distance = torch.cdist(q, d, compute_mode="donot_use_mm_for_euclid_dist")
    unit_q, unit_d = normalize(q, dim=-1), normalize(d, dim=-1)
    unit = torch.cdist(unit_q, unit_d, compute_mode="donot_use_mm_for_euclid_dist")
    return {"cosine": unit_q @ unit_d.T, "dot": q @ d.T, "distance": distance, "squared": distance**2,
            "unit distance": unit, "cosine over the batch": normalize(q, dim=0) @ normalize(d, dim=0).T}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Rows that a loss may compare: their similarities, and the column of each row's own document."""

    similarities: Mapping[str, Tensor]
    own: Tensor


def _meetings(q: Tensor, d: Tensor) -> list[_Meeting]:
    """Queries with documents, the other way round, and both sides under each other with themselves (SimCLR)."""
    n, there = len(q), _similarities(q, d)
    rows = torch.arange(n, device=q.device)
    found = [_Meeting(there, rows)]
    if len(d) == n:
        found.append(_Meeting({name: s.T for name, s in there.items()}, rows))
    if len(d) == n and q.shape == d.shape:
        both = torch.cat([q, d])
        found.append(_Meeting(_similarities(both, both), torch.cat([rows + n, rows])))
    return found


def _explain(kind: str, call: Call, meetings: Sequence[_Meeting], calls: Sequence[Call]) -> Anatomy | None:
    """The similarity that fits the operand of a call best."""
    logits = call.inputs[0]
    found: Anatomy | None = None
    for meeting in meetings:
        for name, similarity in meeting.similarities.items():
            fitted = _fit(logits, similarity, meeting.own, kind)
            if fitted is not None and (found is None or fitted["explained"] > found.explained + 1e-6):
                targets = _own_target(call, calls, meeting.own) if kind == "softmax" else None
                bits = torch.finfo(logits.dtype).bits
                found = Anatomy(kind=kind, similarity=name, bits=bits, own_target=targets, **fitted)
    if found is None:
        return None
    return replace(found, smoothing=float(call.options.get("label_smoothing", 0.0)))


def _fit(logits: Tensor, similarity: Tensor, own: Tensor, kind: str) -> dict[str, Any] | None:
    if not logits.is_floating_point() or logits.ndim != 2 or len(logits) < 2 or logits.shape != similarity.shape:
        return None
    values = logits.float()
    finite = torch.isfinite(values) & (values > -9e3)
    rows = torch.arange(len(values), device=values.device)
    others = finite.clone()
    others[rows, own] = False
    if others.sum() < 3:
        return None
    seen, lead = finite[rows, own], similarity[rows, own]
    # margin - own + other: in a hinge the own score is a second variable
    rest = [lead[:, None].expand_as(values)[others]] if kind == "hinge" else []
    slope, constant, explained = _line(similarity[others], values[others], rest)
    unit = slope[0].abs().clamp(min=1e-12)
    if kind == "hinge":
        margin = float(constant / unit)
    else:
        gap = slope[0] * lead[seen] + constant - values[rows, own][seen]
        margin = float(gap.mean() / unit) if len(gap) else 0.0
    return {
        "explained": explained,
        "scale": float(slope[0]),
        "candidates": float(finite.float().sum(-1).mean()),
        "masked": float((~finite).float().mean()),
        "own_masked": float((~seen).float().mean()),
        "margin": margin if explained > EXPLAINED else 0.0,
        "active": float((values > 0).float().mean()) if kind == "hinge" else float("nan"),
    }


def _line(x: Tensor, y: Tensor, rest: Sequence[Tensor]) -> tuple[Tensor, float, float]:
    """Least squares y = slope . (x, rest) + constant, and the share of the variance explained."""
    design = torch.stack([x, *rest], 1).double()
    centre, level = design.mean(0), y.double().mean()
    slope = torch.linalg.lstsq(design - centre, (y.double() - level)[:, None], driver="gelsd").solution[:, 0]
    left = y.double() - level - (design - centre) @ slope
    spread = (y.double() - level).square().sum()
    explained = float(1 - left.square().sum() / spread) if spread > 0 else 0.0
    return slope, float(level - centre @ slope), explained


def _own_target(call: Call, calls: Sequence[Call], own: Tensor) -> float | None:
    """Share of the rows whose target is their own document."""
    given = [t for c in (call, *calls) if c.name == "cross_entropy" and len(c.inputs) > 1 for t in c.inputs[1:2]]
    if not given:
        return None
    target = given[0]
    if target.ndim == 2 and len(target) == len(own):
        target = target.argmax(-1)
    if target.ndim != 1 or len(target) != len(own):
        return None
    return float((target == own).float().mean())


def _probabilities(calls: Sequence[Call], n: int) -> bool:
    """Whether rows that already sum to one enter a softmax."""
    for call in calls:
        if call.name not in ("cross_entropy", "log_softmax") or not call.inputs:
            continue
        values = call.inputs[0]
        if values.is_floating_point() and values.ndim == 2 and len(values) == n and values.shape[1] > 1:
            sums = values.float().sum(-1)
            if bool((values >= 0).all()) and bool(((sums - 1).abs() < 1e-3).all()):
                return True
    return False


def _operands(calls: Sequence[Call], q: Tensor, d: Tensor) -> tuple[float, float]:
    """Mean norm of the rows and of the columns of what the score matrix was multiplied from."""
    for call in reversed(calls):
        shapes = ((len(q), len(d)), (len(q) + len(d),) * 2)
        if call.name in MATRIX and call.result is not None and tuple(call.result.shape) in shapes:
            left = call.inputs[0].float()
            if left.shape[1:] == q.shape[1:]:
                return float(left.norm(dim=1).mean()), float(left.norm(dim=0).mean())
    return float("nan"), float("nan")
