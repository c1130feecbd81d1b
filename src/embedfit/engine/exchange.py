"""What processes exchange of a model: its weights at the start, and once per step the gradients."""

from __future__ import annotations

__all__ = ["share", "sum_gradients"]

import torch
from torch import Tensor, nn

from embedfit.engine.sharding import is_sharded
from embedfit.errors import ModelError
from embedfit.team import Team


def share(module: nn.Module, team: Team) -> None:
    """Give every process the weights and buffers of the first.

    Raises:
        ModelError: the parameters are sharded: the first process cannot measure or store such a model alone.
    """
    if team.size > 1 and is_sharded(module):
        raise ModelError(
            "the parameters of these towers are sharded, and `fit` wants them whole on every process",
            hint="train sharded towers with engine.step.train_step in a loop of your own",
        )
    for value in (*module.parameters(), *module.buffers()):
        team.copy(value.data)


def sum_gradients(model: nn.Module, team: Team) -> None:
    """Replace the gradient of every parameter by its sum over all processes.

    Each process holds the part of the gradient of the global mean loss that went through its own texts, so that the sum
    is the gradient; nothing is averaged. Dense gradients travel end to end in one message; of sparse ones, the rows
    that were touched. Sharded parameters are left as they are: FSDP has summed their gradients already.
    """
    if team.size == 1:
        return
    trained = [p for p in model.parameters() if p.requires_grad and not is_sharded(p)]
    if not trained:
        return
    device = trained[0].device
    # a process may have had no text for a tower: whoever has a gradient says so, and of which kind
    kind = torch.tensor([0 if p.grad is None else 2 if p.grad.is_sparse else 1 for p in trained], device=device)
    kinds = team.max(kind).tolist()
    dense = [p for p, k in zip(trained, kinds, strict=True) if k == 1]
    for p in dense:
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
    if dense:
        flat = team.sum(torch.cat([_gradient(p).flatten() for p in dense]))
        for p, part in zip(dense, flat.split([p.numel() for p in dense]), strict=True):
            _gradient(p).copy_(part.view_as(p))
    for p, k in zip(trained, kinds, strict=True):
        if k == 2:
            p.grad = _sum_of_rows(p, team)


def _gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad


def _sum_of_rows(p: Tensor, team: Team) -> Tensor:
    rows, values = torch.zeros(0, dtype=torch.long, device=p.device), p.new_zeros(0, p.shape[1])
    if p.grad is not None:
        mine = p.grad.coalesce()
        rows, values = mine.indices()[0], mine.values()
    count = torch.zeros(team.size, dtype=torch.long, device=p.device)
    count[team.rank] = len(rows)
    counts = team.sum(count).tolist()
    indices, summands = team.gather(rows, counts)[None], team.gather(values, counts)
    return torch.sparse_coo_tensor(indices, summands, size=p.shape, check_invariants=False).coalesce()
