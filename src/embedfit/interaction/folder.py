"""A scorer's folder: that of its encoder, readable as a model of its own, and the layer on top of it.

folder/
  scorer.json             which scorer it is
  head/model.safetensors  its own layer
  encoder/                as `embedfit.towers.save` writes it
"""

from __future__ import annotations

__all__ = ["load_scorer", "save_scorer"]

import os
from pathlib import Path

from embedfit.errors import ModelError
from embedfit.interaction.scorers import CrossEncoder, MaxSim, Scorer
from embedfit.towers import Encoder, TwoTower, load, save
from embedfit.towers.files import NOT_WHOLE, read_json, read_weights, whole_folder, write_json, write_weights

ENCODER, HEAD, CARD = "encoder", "head", "scorer.json"
KINDS = {"cross_encoder": CrossEncoder, "max_sim": MaxSim}


def save_scorer(scorer: Scorer, folder: str | os.PathLike[str]) -> Path:
    """Write a scorer so that its folder is either the old one or the new one, never half of it.

    Args:
        scorer: one of this package.
        folder: made if need be; replaced when it holds a scorer.

    Returns:
        The folder, absolute.

    Raises:
        ModelError: the folder holds something else, or cannot be written.
    """
    kind = next(name for name, made in KINDS.items() if isinstance(scorer, made))
    own = {name: value for name, value in scorer.state_dict().items() if not _of_encoder(name)}
    size = {"dimension": scorer.project.out_features} if isinstance(scorer, MaxSim) else {}
    with whole_folder(folder, lambda old: (old / CARD).is_file(), "scorer of embedfit") as part:
        save(TwoTower(scorer.encoder), part / ENCODER)
        (part / HEAD).mkdir()
        write_weights(part / HEAD, own)
        write_json(part / CARD, {"kind": kind, **size})
    return Path(folder).absolute()


def load_scorer(folder: str | os.PathLike[str]) -> Scorer:
    """Read a folder that `save_scorer` wrote.

    Raises:
        ModelError: a file is missing, changed or of another make.
    """
    place = Path(folder)
    card = read_json(place / CARD)
    encoder = load(place / ENCODER).query
    kind, dimension = (card.get("kind"), card.get("dimension")) if isinstance(card, dict) else (None, None)
    if kind not in KINDS or not isinstance(encoder, Encoder):
        raise ModelError(f"'{folder}' holds no scorer of this version: {card}", hint="update embedfit")
    scorer: Scorer
    if kind == "cross_encoder":
        scorer = CrossEncoder(encoder)
    elif isinstance(dimension, int) and dimension > 0:
        scorer = MaxSim(encoder, dimension=dimension)
    else:
        raise ModelError(f"'{place / CARD}' is broken: expected a dimension above 0, got {dimension!r}", hint=NOT_WHOLE)
    odd = scorer.load_state_dict(read_weights(place / HEAD), strict=False)
    lacking = [name for name in odd.missing_keys if not _of_encoder(name)]
    if lacking or odd.unexpected_keys:
        raise ModelError(f"'{place / HEAD}' is of another scorer: {lacking + odd.unexpected_keys}", hint=NOT_WHOLE)
    return scorer.eval()


def _of_encoder(name: str) -> bool:
    return name.startswith("encoder.")
