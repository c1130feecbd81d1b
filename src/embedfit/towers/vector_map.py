"""`VectorMap`: embeddings of one space in, embeddings of another out; its file, and the modules it becomes.

Axes: n rows, a dimensions of the source, e of the target.
"""

from __future__ import annotations

__all__ = ["KINDS", "Kind", "Shape", "VectorMap", "append_to_model", "check_free", "load_map", "save_map"]

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers.dense import Dense
from embedfit.towers.files import read_json, read_weights, write_json, write_weights
from embedfit.towers.sentence_transformers import append_denses

Kind = Literal["orthogonal", "low-rank", "linear", "mlp"]
KINDS: tuple[Kind, ...] = ("orthogonal", "low-rank", "linear", "mlp")
"""From the smallest to the largest."""

FORMAT = 1
_IDENTITY, _RELU = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.ReLU"
_MANIFEST = "map.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a map.

    Attributes:
        kind: orthogonal (turns, scales and shifts), low-rank, linear, or mlp (linear plus a hidden layer beside it).
        source: dimensions in.
        target: dimensions out.
        rank: of low-rank.
        hidden: size of the hidden layer of mlp.
        unit: whether embeddings come out with length 1.
    """

    kind: Kind
    source: int
    target: int
    rank: int = 0
    hidden: int = 0
    unit: bool = False


class VectorMap(nn.Module):
    """x -> W x + b, for an mlp also + C relu(E x + f), brought to unit length where the target space is of unit length.

    Args:
        shape: its sizes.

    Raises:
        ModelError: sizes that do not fit the kind.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        if (shape.rank > 0) != (shape.kind == "low-rank") or (shape.hidden > 0) != (shape.kind == "mlp"):
            raise ModelError(
                f"a map cannot have the sizes {asdict(shape)}", hint="low-rank has a rank, mlp a hidden size"
            )
        self.shape = shape
        self.narrow = nn.Linear(shape.source, shape.rank, bias=False) if shape.rank else None
        self.linear = nn.Linear(shape.rank or shape.source, shape.target)
        self.expand = nn.Linear(shape.source, shape.hidden) if shape.hidden else None
        self.contract = nn.Linear(shape.hidden, shape.target, bias=False) if shape.hidden else None
        if self.contract is not None:
            nn.init.zeros_(self.contract.weight)

    def forward(self, x: Float[Tensor, "n a"]) -> Float[Tensor, "n e"]:
        """The embeddings in the target space."""
        out = self._bare(x)
        return F.normalize(out, dim=-1) if self.shape.unit else out

    def _bare(self, x: Float[Tensor, "n a"]) -> Float[Tensor, "n e"]:
        """The same before it is brought to unit length."""
        out = self.linear(x if self.narrow is None else self.narrow(x))
        if self.expand is not None and self.contract is not None:
            out = out + self.contract(F.relu(self.expand(x)))
        return out

    @torch.no_grad()
    def rescale(
        self, *, source: tuple[Shaped[np.ndarray, " a"], Shaped[np.ndarray, " a"]],
        target: tuple[Shaped[np.ndarray, " e"], Shaped[np.ndarray, " e"]],
    ) -> None:  # fmt: skip
        """Take a map learned between scaled spaces to the spaces themselves: x = (raw - mean) / spread, both sides.

        Args:
            source: mean and spread of each coordinate.
            target: the same.
        """
        (mean_in, spread_in), (mean_out, spread_out) = (
            tuple(torch.as_tensor(np.asarray(v), dtype=torch.float64) for v in pair) for pair in (source, target)
        )

        def into(layer: nn.Linear) -> None:
            weight = layer.weight.double() / spread_in
            if layer.bias is not None:
                layer.bias.copy_(layer.bias.double() - weight @ mean_in)
            layer.weight.copy_(weight)

        moved = torch.zeros(len(mean_out), dtype=torch.float64)
        if self.narrow is not None:
            moved = self.linear.weight.double() @ (self.narrow.weight.double() / spread_in @ mean_in)
            self.narrow.weight.copy_(self.narrow.weight.double() / spread_in)
        else:
            into(self.linear)
        if self.expand is not None and self.contract is not None:
            into(self.expand)
            self.contract.weight.copy_(self.contract.weight.double() * spread_out[:, None])
        self.linear.bias.copy_((self.linear.bias.double() - moved) * spread_out + mean_out)
        self.linear.weight.copy_(self.linear.weight.double() * spread_out[:, None])

    @torch.no_grad()
    def map(self, rows: Shaped[np.ndarray, "n a"]) -> Float[np.ndarray, "n e"]:
        """Rows of the source space, mapped.

        Raises:
            ModelError: rows of another dimension.
        """
        if rows.shape[1] != self.shape.source:
            raise ModelError(
                f"the map takes vectors of {self.shape.source} dimensions, these have {rows.shape[1]}",
                hint="were they made by the model that the map was learned for?",
            )
        # a copy, since torch warns of memory-mapped rows that may not be written to
        with np.errstate(over="ignore"):  # a number that float32 cannot hold becomes an infinite one
            own = np.array(rows, np.float32)
        out = self._bare(torch.from_numpy(own))
        # in place: another pass through memory that is not in the cache costs a tenth of the product
        return (F.normalize(out, dim=-1, out=out) if self.shape.unit else out).numpy()

    def denses(self) -> list[Dense]:
        """The same function as plain dense layers, since W x = relu(W x) - relu(-W x)."""
        if self.narrow is not None:
            return [Dense(_with_bias(self.narrow), _IDENTITY), Dense(self.linear, _IDENTITY)]
        if self.expand is None or self.contract is None:
            return [Dense(self.linear, _IDENTITY)]
        weight, bias = self.linear.weight, self.linear.bias
        identity = torch.eye(self.shape.target)
        first = _layer(torch.cat([weight, -weight, self.expand.weight]), torch.cat([bias, -bias, self.expand.bias]))
        second = _layer(torch.cat([identity, -identity, self.contract.weight], dim=1), torch.zeros(self.shape.target))
        return [Dense(first, _RELU), Dense(second, _IDENTITY)]


def save_map(vector_map: VectorMap, folder: str | os.PathLike[str], *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write `model.safetensors` and `map.json`.

    Args:
        vector_map: the map.
        folder: made if need be; a map that is there already is replaced.
        extra: anything JSON can hold, kept in map.json.

    Raises:
        ModelError: the folder holds something else, or cannot be written.
    """
    place = check_free(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_weights(place, vector_map.state_dict())
        write_json(place / _MANIFEST, {"format": FORMAT, "shape": asdict(vector_map.shape), "extra": dict(extra or {})})
    except OSError as error:
        raise ModelError(f"cannot write '{folder}': {error.strerror or error}", hint="choose another folder") from error
    return place


def check_free(folder: str | os.PathLike[str]) -> Path:
    """The folder, where a map may be written.

    Raises:
        ModelError: it holds something else.
    """
    place = Path(folder)
    if place.exists() and not (place / _MANIFEST).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise ModelError(
            f"'{folder}' exists and is no map of embedfit; it is left as it is", hint="choose another folder"
        )
    return place


def load_map(folder: str | os.PathLike[str]) -> VectorMap:
    """Read a map that `save_map` wrote.

    Raises:
        ModelError: there is none, it is broken, or of a later format.
    """
    place = Path(folder)
    if not (place / _MANIFEST).is_file():
        raise ModelError(f"'{folder}' holds no map", hint="`embedfit align SOURCE TARGET --out DIR` writes one")
    said = read_json(place / _MANIFEST)
    try:
        if said["format"] != FORMAT:
            raise ModelError(
                f"'{folder}' has format {said['format']}; this version reads {FORMAT}", hint="update embedfit"
            )
        made = VectorMap(Shape(**said["shape"]))
        made.load_state_dict(read_weights(place))
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the map in '{folder}' is broken: {reason}", hint="was it copied whole?") from None
    return made.eval()


def append_to_model(vector_map: VectorMap, model: Path, folder: str | os.PathLike[str]) -> Path:
    """A sentence-transformers model that embeds with an old model and answers in the new space.

    Args:
        vector_map: learned on the unit embeddings of the model.
        model: folder of the old model in the layout of sentence-transformers; its weights are copied.
        folder: of the new model; must be empty or absent.

    Raises:
        ModelError: the old model has another layout, or the folder is taken.
    """
    place = Path(folder)
    if not (model / "modules.json").is_file() or any(
        e["type"].endswith("Router") for e in read_json(model / "modules.json")
    ):
        raise ModelError(
            f"'{model}' is no single model in the layout of sentence-transformers, so the map cannot follow it",
            hint="encode with the model, then `embedfit align VECTORS OUT --apply MAP`",
        )
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ModelError(f"'{folder}' is not empty; it is left as it is", hint="choose another folder")
    # embedfit.json describes the model without the map, and would be believed
    shutil.copytree(model, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("embedfit.json", "README.md"))
    append_denses(place, vector_map.denses(), unit=vector_map.shape.unit)
    return place


def _layer(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _with_bias(layer: nn.Linear) -> nn.Linear:
    return _layer(layer.weight, torch.zeros(layer.out_features))
