"""What a loss asks for, found out without reading it: its step is taken again with other embeddings.

A step is run once and every use of its embeddings is noted. It is then run again with embeddings of our choice put in
at these places, so that anybody's loss becomes a function of embeddings, whatever it is made of. How that function
answers (pairs in order and out of order, all embeddings equal, some rows longer than others) says what it asks for.

Axes: n queries, m documents, e coordinates; document i belongs to query i, those beyond the n-th are negatives.
"""

from __future__ import annotations

__all__ = ["Demands", "Replay", "demands"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from embedfit.probes.state import same_random_numbers

JOINS = ("cat", "concat", "concatenate", "vstack")
LENGTHS = (1.0, 3.0, 10.0, 30.0)
"""Lengths of embeddings, as multiples of the model's, at which a loss that depends on length is tried."""
DRAWS = 6
"""Random embeddings that pulls are averaged over."""
ALIKE = 1e-2
"""Two losses are the same that differ by less than this share of what rightness of the pairs makes."""

Step = Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class _Use:
    """An argument of a call that holds these rows of this side."""

    leaf: int
    side: str
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """One call of the first run."""

    name: str
    leaves: Sequence[Any]
    result: Any


class _Listening(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[_Heard] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        result = func(*args, **given)
        self.heard.append(_Heard(getattr(func, "__name__", ""), tree_flatten((args, given))[0], result))
        return result


class _Replacing(TorchFunctionMode):
    def __init__(self, uses: Mapping[int, Sequence[_Use]], names: Sequence[str], sides: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.uses, self.names, self.sides = uses, names, sides
        self.call = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call, self.call = self.call, self.call + 1
        given: Any = dict(kwargs or {})
        if call in self.uses:
            if self.names[call] != getattr(func, "__name__", ""):
                raise ValueError("the step took another way")
            leaves, shape = tree_flatten((args, given))
            for use in self.uses[call]:
                leaves[use.leaf] = self.sides[use.side][use.first : use.first + use.rows]
            args, given = tree_unflatten(leaves, shape)
        return func(*args, **given)


class Replay:
    """The loss of a step as a function of its embeddings.

    Args:
        step: forward pass and loss on always the same batch; gives `query`, `document` and `loss`.

    Raises:
        ValueError: the loss does not depend on the embeddings that the step gives back.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        with same_random_numbers(0), _Listening() as listener:
            out = step()
        self.query, self.document = out["query"].detach(), out["document"].detach()
        self.loss = float(out["loss"].detach())
        self.trained = {side: out[side].requires_grad for side in ("query", "document")}
        self._uses: dict[int, list[_Use]] = {}
        self._names = [heard.name for heard in listener.heard]
        for side in ("query", "document"):
            self._note(out[side], side, 0, listener.heard)
        self.names = frozenset(self._names[min(self._uses, default=0) :])
        if not self._uses:
            raise ValueError("no call of the step uses its embeddings")

    def _note(self, wanted: Tensor, side: str, first: int, heard: Sequence[_Heard]) -> None:
        """Where this tensor is used, and what it was joined from."""
        for call, one in enumerate(heard):
            for leaf, value in enumerate(one.leaves):
                if value is wanted:
                    self._uses.setdefault(call, []).append(_Use(leaf, side, first, len(wanted)))
        makers = [one for one in heard if one.result is wanted and one.name in JOINS]
        for parts in ([leaf for leaf in one.leaves if isinstance(leaf, Tensor)] for one in makers):
            if any(part.shape[1:] != wanted.shape[1:] for part in parts) or sum(map(len, parts)) != len(wanted):
                continue  # a join of coordinates: its parts are no embeddings
            for part in parts:
                self._note(part, side, first, heard)
                first += len(part)

    def __call__(self, query: Float[Tensor, "n e"], document: Float[Tensor, "m e"]) -> Float[Tensor, ""]:
        """The loss of other embeddings, with its graph; ValueError where it computes other things for them."""
        sides = {"query": query.to(self.query), "document": document.to(self.document)}
        with same_random_numbers(0), _Replacing(self._uses, self._names, sides):
            return self._step()["loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a loss asks of embeddings.

    Attributes:
        ideal: loss where every pair is equal and different pairs are unrelated, at the best of a few lengths.
        wrong: loss where every query is equal to another row's document.
        collapsed: loss where all embeddings are equal; log C for a softmax over C candidates.
        real: loss of the model's own embeddings.
        apart: like `ideal`, but equal documents of the batch are given embeddings that differ.
        scale_free: whether it stays the same when all embeddings are twice as long.
        row_free: whether it stays the same when every other query is.
        own_pull: share of the queries that are pulled towards their own document, of those that are pulled at all.
        own_only: mean cosine of the pull with the own document; near 1 where nothing else matters.
        other_pull: share of the queries that are pulled to one document which is not their own.
        one_rival: share of the queries that are pushed away from exactly one document.
        hardest: share of these whose rival is the nearest one.
        constant: whether it is the same whatever the embeddings.
        form: softmax, hinge or other, by the functions it calls.
    """

    ideal: float
    wrong: float
    collapsed: float
    real: float
    apart: float
    scale_free: bool
    row_free: bool
    own_pull: float
    own_only: float
    other_pull: float
    one_rival: float
    hardest: float
    constant: bool
    form: str


def demands(replay: Replay) -> Demands:
    """Try a loss on embeddings made for the purpose.

    Raises:
        ValueError: the loss cannot be replayed.
    """
    unit, levels, n = _directions(replay.document.shape[1]), _Levels(replay), len(replay.query)
    places, free, one = unit(len(levels.groups))[levels.groups], unit(len(levels.groups)), unit(1)
    loose = normalize(places + 0.7 * unit(len(places)), dim=-1)
    base, wrong = levels(loose[:n], places), levels(places[torch.arange(n).roll(max(1, n // 2))], places)
    longer = torch.where(torch.arange(n) % 2 == 0, 2.0, 1.0)[:, None]
    tolerance = ALIKE * max(abs(wrong - base), abs(replay.loss - base))
    scale_free = abs(levels(2 * loose[:n], 2 * places) - base) <= tolerance
    grown = (1.0,) if scale_free else LENGTHS  # where length counts, embeddings can grow into it
    ideal, apart = (
        min(levels(p[:n], p, alike=True), *(levels(t * p[:n], t * p) for t in grown)) for p in (places, free)
    )
    own, only, other = _pulls(replay, unit, levels.sizes)
    one_rival, hardest = _rivals(replay)
    return Demands(
        ideal=ideal, apart=apart, wrong=wrong, real=replay.loss,
        collapsed=min(levels(one.expand(n, -1), one.expand_as(places), alike=alike) for alike in (False, True)),
        constant=max(abs(wrong - base), abs(replay.loss - base)) <= 1e-6 * abs(base), scale_free=scale_free,
        row_free=abs(levels(longer * loose[:n], places) - base) <= tolerance, form=_form(replay.names),
        own_pull=own, own_only=only, other_pull=other, one_rival=one_rival, hardest=hardest,
    )  # fmt: skip


def _directions(width: int) -> Callable[[int], Tensor]:
    """Random unit vectors, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    return lambda rows: normalize(torch.randn(rows, width, generator=generator), dim=-1)


class _Levels:
    """Losses of unit embeddings, made as long as the model's; equal documents of the batch are in one group."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        q, d = replay.query.float().cpu(), replay.document.float().cpu()
        if q.shape[1] != d.shape[1]:
            raise ValueError("queries and documents differ in width")
        # embeddings of a dead model have no length of their own
        sizes = [float(side.norm(dim=-1).nan_to_num(0.0, 0.0).mean()) for side in (q, d)]
        self.sizes = sizes[0] if sizes[0] > 1e-9 else 1.0, sizes[1] if sizes[1] > 1e-9 else 1.0
        rounded = (d / d.abs().amax().clamp(min=1e-12) * 1e4).round()
        self.groups = torch.unique(rounded, dim=0, return_inverse=True)[1]

    def __call__(self, query: Tensor, document: Tensor, *, alike: bool = False) -> float:
        with torch.no_grad():  # alike: a squared distance wants equal embeddings to be as long as the documents
            return float(self.replay(query * self.sizes[alike], document * self.sizes[1]))


def _form(names: frozenset[str]) -> str:
    if names & {"cross_entropy", "log_softmax", "softmax", "logsumexp", "exp"}:
        return "softmax"
    hinges = {"relu", "clamp", "clamp_min", "relu_", "margin_ranking_loss", "triplet_margin_loss", "maximum"}
    return "hinge" if names & hinges else "other"


def _gradient(replay: Replay, query: Tensor, document: Tensor) -> Float[Tensor, "n e"]:
    """Slope of the loss at the queries."""
    leaf = query.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        loss = replay(leaf, document)
        (slope,) = torch.autograd.grad(loss, leaf, allow_unused=True)
    return torch.zeros_like(leaf) if slope is None else slope.detach().float()


def _pulls(replay: Replay, unit: Callable[[int], Tensor], sizes: tuple[float, float]) -> tuple[float, float, float]:
    """Of unrelated embeddings: queries pulled to their own document, how much to it alone, and to one other."""
    n, m = len(replay.query), len(replay.document)
    choice, own = torch.zeros(n, m), torch.zeros(n)
    for _ in range(DRAWS):
        query, document = unit(n), unit(m)
        slope = _gradient(replay, query * sizes[0], document * sizes[1]).cpu()
        pull = normalize(-slope, dim=-1, eps=1e-20) @ document.T
        own += pull[:, :n].diagonal() / DRAWS
        # what all documents share is no choice between them
        choice += (pull - pull.mean(1, keepdim=True)) / DRAWS
    live = choice.abs().amax(1) > 1e-6
    if not bool(live.any()):
        return float("nan"), float("nan"), float("nan")
    mine = choice[:, :n].diagonal()
    others = choice.clone()
    others[:, :n].fill_diagonal_(-torch.inf)
    other = (others.amax(1) > 0.5) & (others.amax(1) > 2 * mine)
    return float((mine[live] > 0).float().mean()), float(own[live].mean()), float(other[live].float().mean())


def _rivals(replay: Replay) -> tuple[float, float]:
    """Share of the queries whose slope is explained by themselves, their document and one more; of these, the nearest.

    At the model's own embeddings, spread out a little so that no two rows are the same.
    """
    generator = torch.Generator().manual_seed(1)
    q, d = (
        x.float().cpu() + 0.3 * x.float().std().cpu() * torch.randn(x.shape, generator=generator)
        for x in (replay.query, replay.document)
    )
    n, m = len(q), len(d)
    if d.shape[1] < 6 or m < 4:
        return float("nan"), float("nan")
    slope = _gradient(replay, q, d).cpu()
    first = normalize(q, dim=-1)
    second = normalize(d[:n] - (d[:n] * first).sum(-1, keepdim=True) * first, dim=-1)
    rest, rivals = _without(slope, first, second), _without(d.expand(n, m, -1), first[:, None], second[:, None])
    live: Bool[Tensor, " n"] = rest.norm(dim=-1) > 1e-4 * slope.norm(dim=-1).clamp(min=1e-20)
    if not bool(live.any()):
        return 0.0, 0.0
    explained = torch.einsum("ne,nme->nm", normalize(rest, dim=-1), normalize(rivals, dim=-1)).abs()
    explained[:, :n].fill_diagonal_(0.0)
    single = live & (explained.amax(1) > 0.999)
    near, alike = -torch.cdist(q, d), first @ normalize(d, dim=-1).T
    nearest = torch.zeros(n, dtype=torch.bool)
    for similarity in (near, alike):
        similarity[:, :n].fill_diagonal_(-torch.inf)
        nearest |= explained.argmax(1) == similarity.argmax(1)
    return float(single[live].float().mean()), float(nearest[single].float().mean()) if bool(single.any()) else 0.0


def _without(x: Tensor, *directions: Tensor) -> Tensor:
    """Vectors less their parts along these unit vectors."""
    for direction in directions:
        x = x - (x * direction).sum(-1, keepdim=True) * direction
    return x
