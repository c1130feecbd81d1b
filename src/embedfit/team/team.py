"""The processes that train one model together. Everything they exchange goes through here.

The library never starts processes: it looks whether `torch.distributed` has been initialised, by torchrun, Ray,
Accelerate, Slurm or the caller, and joins in. One process alone exchanges nothing.

Axes: n rows of all processes together, m rows of this one.
"""

from __future__ import annotations

__all__ = ["ALONE", "Team", "team_of_this_process"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """This process among the others.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where tensors must lie to be exchanged."""
        nccl = self.size > 1 and dist.get_backend() == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values, op=dist.ReduceOp.SUM)
        return values

    def max(self, values: Tensor) -> Tensor:
        """Greatest value over all processes; the input stays as it is."""
        if self.size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return values

    def gather(self, rows: Shaped[Tensor, "m *rest"], counts: Sequence[int]) -> Shaped[Tensor, "n *rest"]:
        """The rows of all processes, in the order of their ranks; no gradient flows back.

        Args:
            rows: of this process.
            counts: rows of each process.
        """
        if self.size == 1:
            return rows
        longest = max(counts)
        mine = rows.new_zeros((longest, *rows.shape[1:]))
        mine[: len(rows)] = rows
        out = rows.new_empty((self.size * longest, *rows.shape[1:]))
        _call("all_gather_single", "all_gather_into_tensor")(out, mine)
        if all(count == longest for count in counts):
            return out
        return torch.cat([part[:count] for part, count in zip(out.split(longest), counts, strict=True)])

    def scatter_sum(self, rows: Shaped[Tensor, "n *rest"], counts: Sequence[int]) -> Shaped[Tensor, "m *rest"]:
        """Rows of this process, summed over all processes; the counterpart of `gather`.

        Args:
            rows: every process's contribution to the rows of all.
            counts: rows of each process.
        """
        if self.size == 1:
            return rows
        longest = max(counts)
        parts = rows.split(list(counts))
        padded = rows.new_zeros((self.size * longest, *rows.shape[1:]))
        for rank, part in enumerate(parts):
            padded[rank * longest : rank * longest + len(part)] = part
        out = rows.new_empty((longest, *rows.shape[1:]))
        _call("reduce_scatter_single", "reduce_scatter_tensor")(out, padded, op=dist.ReduceOp.SUM)
        return out[: counts[self.rank]]

    def pass_on(self, rows: Shaped[Tensor, "m *rest"], counts: Sequence[int], owner: int) -> Tensor:
        """Rows to the next process of the ring; returns what the one before passes on, a block of another owner.

        Args:
            rows: that this process holds now.
            counts: rows that each process owns.
            owner: of the rows that come in.
        """
        if self.size == 1:
            return rows
        out = rows.new_empty((counts[owner], *rows.shape[1:]))
        asked = [dist.P2POp(dist.isend, rows.contiguous(), (self.rank + 1) % self.size)] if rows.numel() else []
        asked += [dist.P2POp(dist.irecv, out, (self.rank - 1) % self.size)] if out.numel() else []
        for work in dist.batch_isend_irecv(asked) if asked else ():
            work.wait()
        return out

    def copy(self, values: Tensor) -> Tensor:
        """What the first process holds, in place."""
        if self.size > 1:
            dist.broadcast(values, src=0)
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        return bool(self.max(torch.tensor(int(flag), device=self.device)))

    def tell(self, value: Any) -> Any:
        """What the first process says, on every process."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]


def _call(name: str, before: str) -> Callable[..., Any]:
    """A function of `torch.distributed` that torch 2.13 renamed."""
    return vars(dist).get(name) or vars(dist)[before]


ALONE = Team()


def team_of_this_process() -> Team:
    """The default process group, where one has been initialised; else this process alone."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return Team(rank=dist.get_rank(), size=dist.get_world_size())
    return ALONE
