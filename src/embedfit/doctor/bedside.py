"""The hooks of a doctor in a live loop: calls of one step, gradients as they arrive, how far weights move."""

from __future__ import annotations

__all__ = ["Bedside"]

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from embedfit.doctor.untrained import DEPENDENCE
from embedfit.probes.company import agreement
from embedfit.probes.gradient import gradient_norms
from embedfit.probes.rows import table
from embedfit.probes.trace import Call, Listener

SAMPLE = 512  # entries of each tensor that are remembered
WATCHED = 24  # tensors whose arriving gradients are added up


class Bedside:
    """What is attached to a model and its optimiser, and can be taken off again.

    Args:
        model: what is trained.
        optimizer: that trains it.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.steps = self.asked = 0
        self.modes: list[bool] = []
        self.inputs: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = []
        self._inside = 0
        self._listener: Listener | None = None
        self._arrived: dict[int, Tensor] = {}
        self._alignment: list[float] = []
        self._lost: list[float] = []
        self._handles: list[Any] = [optimizer.register_step_pre_hook(self._before_step)]
        self._ears: list[Any] = []
        self._before = _sampled(model)
        self._start = self._before

    def listen(self) -> None:
        """From the next forward call of the model on, until `collected`, hear everything and add gradients up."""
        for module in self.model.modules():  # the author may call the towers and never the whole
            self._ears.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._ears.append(module.register_forward_hook(self._leave, always_call=True))
        # of several processes each sees its own gradient arrive, and the optimiser the mean of all
        mine = [] if _shared() else [p for p in self.model.parameters() if p.requires_grad]
        watched = [p for p in mine if p.numel() <= 1_000_000][:WATCHED]
        self._handles += [p.register_hook(_adder(self._arrived, id(p))) for p in watched]
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) or (
                isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
            ):
                self._handles.append(module.register_forward_pre_hook(self._note_mode))

    def collected(self) -> Sequence[Call] | None:
        """The calls since the model ran, once; None while nobody listens."""
        self.asked += 1
        if self._listener is None:
            return None
        listener, self._listener = self._listener, None
        listener.__exit__(None, None, None)
        for ear in self._ears:
            ear.remove()
        self._ears.clear()
        return listener.calls

    def readings(self) -> dict[str, float]:
        """Gradient norms, and how far the weights went since the last reading of the kind, per step."""
        norms = gradient_norms({n: p.grad for n, p in self.model.named_parameters()})
        now = _sampled(self.model)
        moved = sum(float((now[n] - old).square().sum()) for n, old in self._before.items() if n in now) ** 0.5
        size = sum(float(old.square().sum()) for old in self._before.values()) ** 0.5
        found = {"gradient_norm": sum(v**2 for v in norms.values()) ** 0.5}
        if self._steps_since and size:
            found["update_ratio"] = moved / size / self._steps_since
        self._before, self._steps_since = now, 0
        return found

    _steps_since = 0

    def facts(self) -> dict[str, Any]:
        """What the hooks have found out."""
        now = _sampled(self.model)
        sizes = {n: p.numel() for n, p in self.model.named_parameters() if p.requires_grad}
        still = [n for n in sizes if n in self._start and torch.equal(now[n], self._start[n])] if self.steps > 2 else []
        found: dict[str, Any] = {
            "parameters.unmoved": sum(sizes[n] for n in still) / max(1, sum(sizes.values()))
            if self.steps > 2
            else None,
            "parameters.unmoved_names": still[:8],
            "mode.evaluating": self.modes.count(False) / len(self.modes) if self.modes else None,
        }
        if self._alignment:
            found |= {"update.alignment": min(self._alignment), "update.lost": max(self._lost)}
        if self.asked > 4:
            found["update.steps"] = min(1.0, self.steps / self.asked) if self.steps else 0.0
        return found

    @torch.no_grad()
    def again(self) -> dict[str, Any]:
        """The last inputs through the model once more, in other company: is a row's embedding its own?"""
        self.model.eval()
        worst: dict[str, float] = {}
        for module, args, kwargs in self.inputs:
            whole = _embeddings(module(*args, **kwargs))
            if not whole or len(whole[0]) < 4:
                continue
            rows = table((list(args), kwargs), len(whole[0]))

            def embed(batch: Any, module: nn.Module = module) -> list[Tensor]:
                return [side.float() for side in _embeddings(module(*batch[0], **batch[1]))]

            for name, value in (agreement(embed, rows) if rows.columns else {}).items():
                worst[name] = max(value, worst.get(name, 0.0))
        return {f"mode.{DEPENDENCE[name]}": value for name, value in worst.items()}

    def close(self) -> None:
        """Take everything off."""
        self.collected()
        for handle in [*self._handles, *self._ears]:
            handle.remove()
        self._handles.clear()

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._listener is None:
            self._arrived.clear()
            self._listener = Listener()
            self._listener.__enter__()
        if self._inside == 0:
            self.inputs.append((module, args, kwargs))
        self._inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._inside -= 1

    def _note_mode(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        del args
        if torch.is_grad_enabled() and len(self.modes) < 256:
            self.modes.append(module.training)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """What arrived since the last step against what the optimiser is about to use."""
        del args, kwargs
        self.steps += 1
        self._steps_since += 1
        if not self._arrived or len(self._alignment) >= 8:
            return
        given = {id(p): p.grad for group in optimizer.param_groups for p in group["params"]}
        pairs = [(g.flatten(), given[i].flatten()) for i, g in self._arrived.items() if given.get(i) is not None]
        if pairs:
            fresh, used = (torch.cat([pair[k].double() for pair in pairs]) for k in (0, 1))
            if bool(fresh.isfinite().all()) and bool(fresh.any()):
                self._alignment.append(float(torch.cosine_similarity(fresh, used, dim=0)))
                live = fresh != 0
                self._lost.append(float((used[live] == 0).double().mean()))
        self._arrived.clear()


def _shared() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _adder(into: dict[int, Tensor], key: int) -> Any:
    def add(gradient: Tensor) -> None:
        if gradient.is_sparse:
            return
        into[key] = into[key] + gradient if key in into else gradient.clone()

    return add


def _sampled(model: nn.Module) -> dict[str, Tensor]:
    """Some entries of each tensor, evenly spaced."""
    found = {}
    for name, p in model.named_parameters():
        flat = p.detach().reshape(-1)
        found[name] = flat[:: max(1, len(flat) // SAMPLE)].float().cpu().clone()
    return found


def _embeddings(output: Any) -> list[Tensor]:
    """The [n, e] tensors of a model's output."""
    if isinstance(output, Tensor):
        return [output] if output.ndim == 2 else []
    if isinstance(output, dict):
        return [t for value in output.values() for t in _embeddings(value)]
    if isinstance(output, list | tuple):
        return [t for value in output for t in _embeddings(value)]
    return []
