"""An LSTM tower in the modules of sentence-transformers: WordEmbeddings, LSTM, the last token, a linear layer.

WordEmbeddings takes a tokeniser of sub-words from version 5 on; earlier ones know only words between blanks.
"""

from __future__ import annotations

__all__ = ["fits", "read_lstm", "write_lstm"]

from pathlib import Path

from embedfit.errors import ModelError
from embedfit.towers.base import Tower
from embedfit.towers.dense import Dense
from embedfit.towers.files import NOT_WHOLE, read_json, read_tokenizer_file, read_weights, write_json, write_weights
from embedfit.towers.recurrent import Recurrent, RecurrentShape
from embedfit.towers.tokenizer import SPECIAL

_TOKENIZER = "sentence_transformers.models.tokenizer.WordTokenizer.TransformersTokenizerWrapper"
_IDENTITY = "torch.nn.modules.linear.Identity"


def fits(tower: Tower) -> bool:
    """Whether this is a tower that the modules can hold: an LSTM in one direction, its last state taken."""
    if not isinstance(tower, Recurrent):
        return False
    shape = tower.shape
    return shape.cell == "lstm" and shape.pooling == "last" and not shape.both_ways


def write_lstm(tower: Recurrent, words: Path, cells: Path) -> Dense:
    """Write embeddings and cells.

    Args:
        tower: one that `fits`.
        words: folder of the module WordEmbeddings.
        cells: folder of the module LSTM.

    Returns:
        The linear layer that follows the pooling.
    """
    write_json(
        words / "wordembedding_config.json",
        {"tokenizer_class": _TOKENIZER, "update_embeddings": False, "max_seq_length": tower.max_tokens},
    )
    write_weights(words, {"emb_layer.weight": tower.embedding.weight})
    tower.tokenizer.save(str(words / "tokenizer.json"), pretty=False)
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    assert set(named.values()) <= set(SPECIAL)
    write_json(words / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named})
    shape = tower.shape
    sizes = {"hidden_dim": shape.hidden, "num_layers": shape.layers, "dropout": 0.0, "bidirectional": False}
    write_json(cells / "lstm_config.json", {"word_embedding_dimension": shape.dimension, **sizes})
    write_weights(cells, {f"encoder.{name}": tensor for name, tensor in tower.cells.state_dict().items()})
    return Dense(tower.project, _IDENTITY)


def read_lstm(
    words: Path, cells: Path, pooling: tuple[str, ...], head: list[Dense], max_tokens: int | None
) -> Recurrent:
    """The tower that `write_lstm` wrote, without dropout.

    Raises:
        ModelError: the modules hold something else.
    """
    limits, sizes = read_json(words / "wordembedding_config.json"), read_json(cells / "lstm_config.json")
    ours = pooling == ("lasttoken",) and not sizes.get("bidirectional", True) and len(head) == 1
    if not ours or head[0].activation != _IDENTITY or str(limits.get("tokenizer_class")) != _TOKENIZER:
        raise ModelError(
            f"'{cells.parent}' holds an LSTM of another form than those that embedfit writes",
            hint="understood is one direction over sub-words, the last token, and a linear layer",
        )
    table, own = read_weights(words)["emb_layer.weight"], int(limits["max_seq_length"])
    shape = RecurrentShape(
        cell="lstm",
        dimension=table.shape[1],
        hidden=sizes["hidden_dim"],
        layers=sizes["num_layers"],
        both_ways=False,
        pooling="last",
        dropout=0.0,
        max_tokens=min(own, max_tokens or own),
    )
    tower = Recurrent(read_tokenizer_file(words), shape)
    weights = {f"cells.{name.removeprefix('encoder.')}": tensor for name, tensor in read_weights(cells).items()}
    weights |= {f"project.{name}": tensor for name, tensor in head[0].linear.state_dict().items()}
    try:
        tower.load_state_dict({**weights, "embedding.weight": table})
    except RuntimeError as error:
        raise ModelError(
            f"'{cells.parent}' holds an LSTM that does not fit its sizes: {error}", hint=NOT_WHOLE
        ) from None
    return tower
