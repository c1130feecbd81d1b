"""Encoders too large for one device: parameters and their gradients lie in parts on all processes (FSDP2).

A layer's parameters are gathered when it runs, and its gradient is reduced when its backward pass is over, at every
micro-batch. Both are collective calls, so that all processes must run a tower equally often: see `embed.deal`.
"""

from __future__ import annotations

__all__ = ["is_sharded", "shard"]

from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.team import Team
from embedfit.towers import TwoTower
from embedfit.towers.encoder import Encoder

ALL = 1 << 62  # more texts or tokens than any micro-batch has


def shard(model: TwoTower, team: Team) -> None:
    """Shard the encoders of a model over the processes, each stacked layer by itself, in place.

    `train_step` then leaves summed gradients in the local parts of the parameters, for an optimiser over
    `model.parameters()` that is made afterwards. The micro-batches, and with them dropout, depend on the number of
    processes, which is not so without sharding.

    Args:
        model: with the same weights on every process, already on the device of the team.
        team: the processes; two or more.

    Raises:
        ModelError: one process alone, or a tower that is no encoder.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if team.size == 1:
        raise ModelError("there is one process, and nothing to shard over", hint="start several with torchrun")
    mesh = init_device_mesh(team.device.type, (team.size,))
    for tower in {id(tower): tower for tower in (model.query, model.document)}.values():
        if not isinstance(tower, Encoder):
            raise ModelError(
                f"a tower of class {type(tower).__name__} cannot be sharded; expected an encoder",
                hint="towers of tables are small enough for one device, or need an engine of their own (TorchRec)",
            )
        tower.row = tower.chunk = ALL  # one pass through the layers per micro-batch, on every process
        for module in tower.modules():
            if isinstance(module, nn.Embedding):
                module.sparse = False  # FSDP reduces whole gradients
        for layers in [module for module in tower.modules() if isinstance(module, nn.ModuleList)][::-1]:
            for layer in layers:
                fully_shard(layer, mesh=mesh)
        fully_shard(tower, mesh=mesh)
        for module in tower.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)  # the sum over processes is the gradient, not the mean
                module.set_force_sum_reduction_for_comms(True)  # gloo knows no sum of scaled values


def is_sharded(part: nn.Module | Tensor) -> bool:
    """Whether a parameter, or any of a module, lies in parts on several processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(p, DTensor) for p in ([part] if isinstance(part, Tensor) else part.parameters()))
