"""Texts to embeddings and gradients back, in micro-batches, with only as many graphs alive as memory allows.

A batch may be far larger than what a tower can hold activations for. Its texts are cut into micro-batches of similar
length; embeddings are made first; once the loss has given the gradient of each embedding, every micro-batch carries its
own part back through the tower. Those whose graph did not fit are embedded again for that (Gao et al. 2021, "Scaling
deep contrastive learning batch size under memory limited setup", https://arxiv.org/abs/2101.06983), as few as
possible. The gradient is that of the undivided batch.

Each micro-batch has random numbers of its own, drawn from (seed, step, place). Dropout is therefore the same when a
micro-batch is embedded again, whichever process has it, and the bits of the result depend neither on the memory nor, up
to the order of sums, on the number of processes.
"""

from __future__ import annotations

__all__ = ["Side", "deal", "seeded"]

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embedfit.errors import ModelError
from embedfit.team import ALONE, Team
from embedfit.towers import Tower
from embedfit.types import Tokens

MIX = 0x9E3779B97F4A7C15  # torch's generators are seeded by 64 bits, of which neighbouring numbers differ in few


@contextlib.contextmanager
def seeded(seed: int, step: int, place: int = 0) -> Iterator[None]:
    """Random numbers that depend on (seed, step, place) alone; the caller's random state is put back afterwards.

    This makes a resumed run equal to an undisturbed one without storing generator states, and lets an experiment
    replay any single step.
    """
    # the generators themselves: `torch.manual_seed` looks at every kind of device, ten times as long as it takes
    generators = [torch.default_generator]
    if torch.cuda.is_initialized():
        generators.append(torch.cuda.default_generators[torch.cuda.current_device()])
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed((((seed * 1_000_003 + step) * 1_000_003 + place) * MIX) % 2**63)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Deal:
    """Which texts are embedded together, and where.

    Attributes:
        order: the texts by process: those of the first come first. Alone: as they stand.
        counts: texts of each process.
        micro: this process's micro-batches, as positions among its own texts, in the order of their lengths.
        places: number of each of them among all micro-batches.
    """

    order: Int[Tensor, " n"]
    counts: Sequence[int]
    micro: Sequence[Tensor]
    places: Sequence[int]


def deal(lengths: Int[Tensor, " n"], size: int, team: Team = ALONE, *, even: bool = False) -> Deal:
    """Deal texts out to processes, so that each has about as many tokens as any other.

    The micro-batches do not depend on the number of processes, unless they are dealt out evenly.

    Args:
        lengths: tokens of each text.
        size: texts of a micro-batch.
        team: the processes.
        even: every process gets equally many micro-batches, none of them empty, of about `size` texts.
    """
    sorted_ = lengths.argsort(stable=True)
    micro = sorted_.tensor_split(_even(len(lengths), size, team.size)) if even else sorted_.split(size)
    if team.size == 1:
        whole = torch.arange(len(lengths), device=lengths.device)
        return Deal(order=whole, counts=[len(whole)], micro=micro, places=range(len(micro)))
    owner = _owners([int(lengths[rows].sum()) for rows in micro], team.size, even=even)
    order = []
    for rank in range(team.size):
        own = [rows for rows, o in zip(micro, owner, strict=True) if o == rank]
        order.append(torch.cat(own).sort().values if own else lengths.new_zeros(0))
    places = [i for i, o in enumerate(owner) if o == team.rank]
    position = torch.empty_like(lengths)
    position[order[team.rank]] = torch.arange(len(order[team.rank]), device=lengths.device)
    return Deal(
        order=torch.cat(order),
        counts=[len(part) for part in order],
        micro=[position[micro[i]] for i in places],
        places=places,
    )


def _even(texts: int, size: int, processes: int) -> int:
    """How many micro-batches: a multiple of the number of processes, and not more than there are texts."""
    if texts < processes:
        raise ModelError(
            f"{texts} texts for {processes} processes over which a tower is sharded; expected one each at least",
            hint="raise optim.batch_size, or start fewer processes",
        )
    return min(-(-texts // (size * processes)), texts // processes) * processes


def _owners(costs: Sequence[int], processes: int, *, even: bool) -> list[int]:
    """A process for each cost: the greatest first, each to whoever has least so far, or least of those with room."""
    owner, load, count = [0] * len(costs), [0.0] * processes, [0] * processes
    most = len(costs) // processes if even else len(costs)
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        owner[i] = min((rank for rank in range(processes) if count[rank] < most), key=lambda rank: load[rank])
        load[owner[i]] += costs[i] + 1  # texts without tokens are dealt out too
        count[owner[i]] += 1
    return owner


@dataclass(slots=True, eq=False, kw_only=True)
class Side:
    """The queries, or the documents, of one step on this process.

    Attributes:
        tower: embeds them.
        tokens: of this process's texts.
        deal: how they are divided.
        seed: (seed, step, 0 or 1) of the random numbers; None: none are drawn.
        precision: arithmetic of the tower.
        memory: bytes that the graphs of this side may take.
        abreast: processes that must run the tower as often as this one, because it is sharded over them.
    """

    tower: Tower
    tokens: Tokens
    deal: Deal
    seed: tuple[int, int, int] | None
    precision: torch.dtype
    memory: float
    abreast: Team = ALONE
    kept: dict[int, Tensor] = field(default_factory=dict)

    def forward(self) -> Float[Tensor, "n e"]:
        """Embeddings of this process's texts, fp32, without history; graphs are kept while they fit."""
        out = torch.empty(len(self.tokens), self.tower.dimension, device=self.tokens.ids.device)
        room, per_token = self.memory, 0.0
        for i, rows in enumerate(self.deal.micro):
            tokens = self.tokens.select(rows)
            wanted = per_token * float(tokens.lengths.sum())
            if not torch.is_grad_enabled() or self.abreast.any(wanted > room):
                with torch.no_grad():
                    out[rows] = self._embedded(i, tokens)
                continue
            if len(self.deal.micro) == 1:
                self.kept[i] = self._embedded(i, tokens)
            else:
                with _counted() as count:
                    self.kept[i] = self._embedded(i, tokens)
                per_token = max(per_token, count[0] / max(1.0, float(tokens.lengths.sum())))
                room -= count[0]
            out[rows] = self.kept[i].detach()
        return out

    def backward(self, gradient: Float[Tensor, "n e"]) -> None:
        """Carry the gradient of the embeddings into the tower's parameters."""
        for i, rows in enumerate(self.deal.micro):
            embedded = self.kept.pop(i) if i in self.kept else self._embedded(i, self.tokens.select(rows))
            if embedded.requires_grad:  # a text without tokens has an embedding that nothing learns from
                embedded.backward(gradient[rows])
            del embedded
            if len(self.deal.micro) > 1:
                _compact(self.tower)

    def _embedded(self, i: int, tokens: Tokens) -> Tensor:
        low = self.precision != torch.float32
        cast = torch.autocast(tokens.ids.device.type, dtype=self.precision, enabled=low)
        if self.seed is None:
            with cast:
                return self.tower(tokens).float()
        seed, step, side = self.seed
        with seeded(seed, step, 2 * self.deal.places[i] + side), cast:
            return self.tower(tokens).float()


@contextlib.contextmanager
def _counted() -> Iterator[list[int]]:
    """Bytes of the tensors that graphs built inside keep, each storage once; weights are not counted."""
    seen: dict[int, int] = {}
    total = [0]

    def note(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad) and not tensor.is_sparse:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield total
    total[0] = sum(seen.values())


def _compact(tower: Tower) -> None:
    """Sum up equal rows of sparse gradients, which would otherwise grow with every micro-batch."""
    for p in tower.parameters():
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()
