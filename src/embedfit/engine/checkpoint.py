"""Checkpoints: everything a run needs to go on, in one safetensors file, written beside and renamed.

Tensors are stored under "part/key"; plain values (step, best metric, chosen settings) travel as JSON in the header.
Nothing is pickled. Random states are not stored because there are none: every random choice follows from
(seed, step, micro-batch), see `embed.seeded`.
"""

from __future__ import annotations

__all__ = ["Checkpoint", "load", "save", "shared", "values_of"]

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from embedfit.errors import RunError
from embedfit.run import write_atomically
from embedfit.team import Team

VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State between two steps.

    Attributes:
        values: plain values: step, best metric, what "auto" became, fingerprint of the data.
        tensors: "model/...", "loss/...", "optimiser/...", "average/...", "best/...".
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, without its prefix."""
        return {k.removeprefix(name + "/"): v for k, v in self.tensors.items() if k.startswith(name + "/")}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that the file is the old one or the new one, never half of it.

    Raises:
        RunError: the disk is full or not writable; the old file is untouched.
    """
    tensors = {k: v.detach().contiguous() for k, v in checkpoint.tensors.items()}
    header = {"embedfit": json.dumps({"version": VERSION, **checkpoint.values})}
    with write_atomically(path) as part:
        try:
            save_file(tensors, part, metadata=header)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(0, str(error)) from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        RunError: there is none, or it is no checkpoint of this version.
    """
    values = values_of(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    return Checkpoint(values=values, tensors=tensors)


def shared(path: Path, team: Team) -> Checkpoint:
    """Read a checkpoint on the first process and give it to all; the others need not see the file.

    Raises:
        RunError: there is none, or it is no checkpoint of this version.
    """
    if team.size == 1:
        return load(path)
    start = load(path) if team.leads else None
    values, kinds = team.tell(start and (start.values, {k: (v.shape, v.dtype) for k, v in start.tensors.items()}))
    tensors = {}
    for name, (shape, dtype) in kinds.items():
        mine = torch.empty(shape, dtype=dtype) if start is None else start.tensors[name]
        tensors[name] = team.copy(mine.to(team.device)).cpu()
    return Checkpoint(values=values, tensors=tensors)


def values_of(path: Path) -> dict[str, Any]:
    """The plain values of a checkpoint, without its tensors.

    Raises:
        RunError: there is none, or it is no checkpoint of this version.
    """
    if not path.is_file():
        raise RunError(f"no checkpoint at '{path}'", hint="--resume begins again where there is none")
    hint = "delete it; --resume then begins again"
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {})["embedfit"])
            version = values.pop("version")
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise RunError(f"'{path}' is no checkpoint: {error}", hint=hint) from None
    if version != VERSION:
        raise RunError(f"'{path}' was written by another version of embedfit", hint=hint)
    return dict(values)
