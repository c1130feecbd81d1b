"""The state of a training program: taken down, put back, and summed up in a hash that shows the slightest change."""

from __future__ import annotations

__all__ = ["Snapshot", "fingerprint", "same_random_numbers"]

import contextlib
import hashlib
import random
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def fingerprint(model: nn.Module, optimizer: Optimizer | None = None) -> str:
    """A hash of parameters, gradients, buffers, modes, optimiser and random states."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(name.encode() + _bytes(tensor) + bytes([tensor.requires_grad]))
        digest.update(b"" if tensor.grad is None else _bytes(tensor.grad))
    digest.update(bytes(module.training for module in model.modules()))
    if optimizer is not None:
        _add(digest, optimizer.state_dict())
    digest.update(_bytes(torch.get_rng_state()))
    digest.update(repr((random.getstate(), np.random.get_state())).encode())  # noqa: NPY002
    for state in torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []:
        digest.update(_bytes(state))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `fingerprint` sees, to be put back."""

    tensors: Mapping[str, tuple[Tensor, Tensor | None]]
    modes: tuple[bool, ...]
    optimizer: dict[str, Any] | None
    randomness: tuple[Any, ...]

    @classmethod
    def of(cls, model: nn.Module, optimizer: Optimizer | None = None) -> Snapshot:
        """Take the state down."""
        named = [*model.named_parameters(), *model.named_buffers()]
        return cls(
            tensors={n: (t.detach().clone(), None if t.grad is None else t.grad.clone()) for n, t in named},
            modes=tuple(module.training for module in model.modules()),
            optimizer=None if optimizer is None else deepcopy(optimizer.state_dict()),
            randomness=_randomness(),
        )

    @torch.no_grad()
    def restore(self, model: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Put the state back."""
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            value, gradient = self.tensors[name]
            if not torch.equal(tensor, value):
                tensor.copy_(value)
            tensor.grad = gradient
        for module, mode in zip(model.modules(), self.modes, strict=True):
            module.training = mode
        if optimizer is not None and self.optimizer is not None:
            optimizer.load_state_dict(deepcopy(self.optimizer))  # it keeps the tensors it is given
        _set_randomness(self.randomness)


@contextlib.contextmanager
def same_random_numbers(seed: int | None = None) -> Iterator[None]:
    """Leave the random numbers of the caller where they were; inside they come from `seed`."""
    kept = _randomness()
    try:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
        yield
    finally:
        _set_randomness(kept)


def _randomness() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    return torch.get_rng_state(), random.getstate(), np.random.get_state(), cuda  # noqa: NPY002


def _set_randomness(states: tuple[Any, ...]) -> None:
    ours, python, numpy, cuda = states
    torch.set_rng_state(ours)
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(_bytes(value))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            digest.update(repr(key).encode())
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        for part in value:
            _add(digest, part)
    else:
        digest.update(repr(value).encode())


def _bytes(tensor: Tensor) -> bytes:
    plain = tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()
    return plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
