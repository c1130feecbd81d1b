"""From a word in a recipe to a tower: kinds, and the sizes they have where nothing is said."""

from __future__ import annotations

__all__ = ["KINDS", "build"]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from embedfit.errors import ModelError
from embedfit.towers.base import Tower
from embedfit.towers.ngram import train_ngram
from embedfit.towers.pretrained import load_pretrained
from embedfit.towers.recurrent import RecurrentShape, train_recurrent
from embedfit.towers.static import train_static
from embedfit.towers.transformer import train_transformer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    dimension: int
    vocabulary: int
    layers: int
    dropout: float
    max_tokens: int


_DEFAULTS: Mapping[str, _Sizes] = {
    "static": _Sizes(dimension=256, vocabulary=30_000, layers=0, dropout=0.1, max_tokens=512),
    "ngram": _Sizes(dimension=1_024, vocabulary=200_000, layers=4, dropout=0.6, max_tokens=8_192),
    "gru": _Sizes(dimension=256, vocabulary=8_000, layers=1, dropout=0.1, max_tokens=128),
    "lstm": _Sizes(dimension=256, vocabulary=8_000, layers=1, dropout=0.1, max_tokens=128),
    "transformer": _Sizes(dimension=256, vocabulary=8_000, layers=4, dropout=0.1, max_tokens=128),
}

KINDS = tuple(_DEFAULTS)
"""Towers that are built from scratch; any other name is a path or a model of the hub."""


def build(
    kind: str,
    texts: Sequence[str],
    *,
    dimension: int | None = None,
    vocabulary: int | None = None,
    layers: int | None = None,
    dropout: float | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
) -> Tower:
    """A tower that is ready to be trained. Sizes that are not given depend on the kind:

    | kind        | dimension | vocabulary | layers | dropout | max_tokens |
    |-------------|-----------|------------|--------|---------|------------|
    | static      | 256       | 30,000     | 0      | 0.1     | 512        |
    | ngram       | 1,024     | 200,000    | 4      | 0.6     | 8,192      |
    | gru, lstm   | 256       | 8,000      | 1      | 0.1     | 128        |
    | transformer | 256       | 8,000      | 4      | 0.1     | 128        |
    | pretrained  | its own   | its own    | its own| its own | its own    |

    Args:
        kind: one of `KINDS`, or path or hub name of a pretrained encoder.
        texts: the training texts, to learn sub-words and features from (pretrained: not looked at).
        dimension: size e of an embedding.
        vocabulary: sub-words (ngram: features) learned from the texts, at most.
        layers: residual blocks of static, parts of ngram, layers of gru, lstm and transformer.
        dropout: of features (static, ngram) or hidden units.
        max_tokens: longer texts are cut here (ngram: features).
        seed: of every random number; torch's own generator is left as it was.

    Raises:
        ModelError: an impossible size, texts without content, or no such pretrained model.
    """
    given = {
        "dimension": dimension,
        "vocabulary": vocabulary,
        "layers": layers,
        "dropout": dropout,
        "max_tokens": max_tokens,
    }
    wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _check(kind, wanted)
    if kind not in _DEFAULTS:
        near = get_close_matches(kind, KINDS, n=1, cutoff=0.7)
        if near and not Path(kind).exists():
            raise ModelError(f"there is no tower '{kind}'", hint=f"did you mean '{near[0]}'?")
        return load_pretrained(kind, dropout=dropout, max_tokens=max_tokens)
    return _from_scratch(kind, texts, replace(_DEFAULTS[kind], **wanted), seed)


def _from_scratch(kind: str, texts: Sequence[str], chosen: _Sizes, seed: int) -> Tower:
    sizes = asdict(chosen)
    match kind:
        case "static":
            return train_static(texts, **sizes, seed=seed)
        case "ngram":
            sizes["parts"] = sizes.pop("layers")
            return train_ngram(texts, **sizes, seed=seed)
        case "transformer":
            return train_transformer(texts, **sizes, seed=seed)
    del sizes["vocabulary"]
    shape = RecurrentShape(
        cell="gru" if kind == "gru" else "lstm",
        hidden=chosen.dimension,
        both_ways=kind == "gru",
        pooling="mean" if kind == "gru" else "last",
        **sizes,
    )
    return train_recurrent(texts, shape, vocabulary=chosen.vocabulary, seed=seed)


def _check(kind: str, wanted: Mapping[str, Any]) -> None:
    if kind not in _DEFAULTS:
        fixed = [name for name in ("dimension", "vocabulary", "layers") if name in wanted]
        if fixed:
            raise ModelError(
                f"model.{fixed[0]} = {wanted[fixed[0]]} cannot be chosen for the pretrained model '{kind}'",
                hint=f'leave it at "auto", or build from scratch: {", ".join(_DEFAULTS)}',
            )
    least = {"dimension": 1, "vocabulary": 1, "max_tokens": 1, "layers": 0 if kind == "static" else 1}
    for name, floor in least.items():
        if wanted.get(name, floor) < floor:
            raise ModelError(
                f"model.{name} is {wanted[name]}; expected {floor} or more for '{kind}'",
                hint=f'leave it at "auto", or set model.{name} to {floor} or more',
            )
    if not 0 <= wanted.get("dropout", 0.0) < 1:
        raise ModelError(
            f"model.dropout is {wanted['dropout']}; expected 0 or more and less than 1",
            hint='0.1 is usual; "auto" takes what suits the tower',
        )
