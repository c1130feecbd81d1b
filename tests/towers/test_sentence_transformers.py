"""Folders written here, read by the real sentence-transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_towers import AWKWARD, SIZES, TEXTS, Make
from torch import nn

from embedfit.errors import ModelError
from embedfit.towers import Encoder, Prototypes, Recurrent, Static, Tower, TwoTower, load, load_pretrained, save
from embedfit.towers.dense import Dense
from embedfit.towers.reading import read
from embedfit.towers.sentence_transformers import expressible, write

Load = Callable[[object], Any]
EVERYTHING = [*TEXTS, *AWKWARD]
THEIRS = ("static", "static with blocks", "transformer", "lstm")


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def trained(tower: Tower) -> Tower:
    """A tower whose weights are not what they were at first, so that a forgotten one shows."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return tower


def with_head(tower: Encoder | Static, out: int, activation: str) -> Tower:
    tower.head = nn.Sequential(Dense(nn.Linear(tower.dimension, out), f"torch.nn.modules.{activation}"))
    tower.dimension = out
    return tower


@pytest.mark.parametrize("name", THEIRS)
def test_a_shared_tower_gives_equal_embeddings(
    make: Make, sentence_transformer: Load, tmp_path: Path, name: str
) -> None:
    model = TwoTower(trained(make(name)))
    theirs = sentence_transformer(save(model, tmp_path / "model"))
    close(model.encode(EVERYTHING), theirs.encode(EVERYTHING))
    for text in AWKWARD:  # alone, where nothing else decides about padding
        close(model.encode([text]), theirs.encode([text]))


def test_an_lstm_of_several_layers_is_equal_there_and_comes_back_with_its_dropout(
    make: Make, sentence_transformer: Load, tmp_path: Path
) -> None:
    model = TwoTower(trained(make("lstm", layers=2, dropout=0.3)))
    folder = save(model, tmp_path / "model")
    close(model.encode(EVERYTHING), sentence_transformer(folder).encode(EVERYTHING))
    again = load(folder).query
    assert isinstance(again, Recurrent)
    assert again.shape == model.query.shape
    assert again.dropout.p == again.cells.dropout == 0.3
    np.testing.assert_array_equal(TwoTower(again.eval()).encode(EVERYTHING), model.encode(EVERYTHING))
    assert "sentence-transformers (5 or later)" in (folder / "README.md").read_text("utf-8")
    assert load(folder, dropout=0.1, max_tokens=7).query.max_tokens == 7


def test_an_lstm_of_another_form_is_not_understood(make: Make, tmp_path: Path) -> None:
    folder = save(TwoTower(make("lstm")), tmp_path / "model")
    (folder / "embedfit.json").unlink()
    read(folder)
    config = json.loads((folder / "1_LSTM/lstm_config.json").read_text("utf-8"))
    (folder / "1_LSTM/lstm_config.json").write_text(json.dumps({**config, "bidirectional": True}), "utf-8")
    with pytest.raises(ModelError, match="an LSTM of another form"):
        read(folder)


def test_of_two_towers_with_an_lstm_each_sub_folder_is_a_model(
    make: Make, sentence_transformer: Load, tmp_path: Path
) -> None:
    model = TwoTower(trained(make("lstm", seed=1)), trained(make("static", seed=2)))
    folder = save(model, tmp_path / "model")
    assert not (folder / "modules.json").exists()
    for role in ("query", "document"):
        close(model.encode(EVERYTHING, role=role), sentence_transformer(folder / role).encode(EVERYTHING))
    assert "loads the sub-folders" in (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("query", "document"), [("static", "transformer"), ("transformer", "transformer")])
def test_two_towers_are_a_router_and_each_sub_folder_a_model(
    make: Make, sentence_transformer: Load, tmp_path: Path, query: str, document: str
) -> None:
    size = 64
    model = TwoTower(trained(make(query, dimension=size, seed=1)), trained(make(document, dimension=size, seed=2)))
    folder = save(model, tmp_path / "model")
    theirs = sentence_transformer(folder)
    for role, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        ours = model.encode(EVERYTHING, role=role)
        close(ours, encode(EVERYTHING))
        close(ours, sentence_transformer(folder / role).encode(EVERYTHING))


@pytest.mark.parametrize("activation", ["activation.Tanh", "linear.Identity", "activation.GELU"])
@pytest.mark.parametrize("name", ["static", "transformer"])
def test_dense_layers_are_written_with_their_activation(
    make: Make, sentence_transformer: Load, tmp_path: Path, name: str, activation: str
) -> None:
    tower = make(name)
    assert isinstance(tower, Encoder | Static)
    model = TwoTower(trained(with_head(tower, 24, activation)))
    close(model.encode(EVERYTHING), sentence_transformer(save(model, tmp_path / "model")).encode(EVERYTHING))


@pytest.mark.parametrize("pooling", [("cls",), ("max",), ("lasttoken",), ("cls", "mean")])
def test_every_pooling_is_written(
    make: Make, sentence_transformer: Load, tmp_path: Path, pooling: tuple[Any, ...]
) -> None:
    base = make("transformer")
    assert isinstance(base, Encoder)
    tower = Encoder(
        base.model,
        base.tokenizer,
        dimension=base.dimension * len(pooling),
        max_tokens=base.max_tokens,
        pooling=pooling,
        kept=base.kept,
    )
    model = TwoTower(trained(tower))
    close(model.encode(EVERYTHING), sentence_transformer(save(model, tmp_path / "model")).encode(EVERYTHING))


def test_a_real_pretrained_model_is_equal_before_and_after_saving(
    minilm: str, sentence_transformer: Load, tmp_path: Path
) -> None:
    model = TwoTower(load_pretrained(minilm))
    texts = [*AWKWARD, *TEXTS[:3]]
    ours = model.encode(texts)
    close(ours, sentence_transformer(minilm).encode(texts))
    close(ours, sentence_transformer(save(model, tmp_path / "model")).encode(texts))


def test_prompts_by_role_are_written(make: Make, sentence_transformer: Load, tmp_path: Path) -> None:
    tower = make("transformer")
    assert isinstance(tower, Encoder)
    model = TwoTower(tower.prompted("query: "), tower.prompted("my card: "))
    theirs = sentence_transformer(save(model, tmp_path / "model"))
    close(model.encode(TEXTS, role="query"), theirs.encode_query(list(TEXTS)))
    close(model.encode(TEXTS, role="document"), theirs.encode_document(list(TEXTS)))
    assert not np.allclose(model.encode(TEXTS, role="query"), model.encode(TEXTS, role="document"), atol=1e-3)


def test_a_prompt_for_both_roles_is_the_default(make: Make, sentence_transformer: Load, tmp_path: Path) -> None:
    tower = make("transformer")
    assert isinstance(tower, Encoder)
    model = TwoTower(tower.prompted("my card: "))
    theirs = sentence_transformer(save(model, tmp_path / "model"))
    for encode in (theirs.encode, theirs.encode_query, theirs.encode_document):
        close(model.encode(TEXTS), encode(list(TEXTS)))


def test_module_names_are_those_that_every_version_knows(make: Make, tmp_path: Path) -> None:
    folder = save(TwoTower(make("transformer")), tmp_path / "model")
    types = [entry["type"] for entry in json.loads((folder / "modules.json").read_text("utf-8"))]
    assert types == [f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")]


@pytest.mark.parametrize("name", list(SIZES))
def test_what_can_be_expressed_is_known_beforehand(make: Make, tmp_path: Path, name: str) -> None:
    tower = make(name)
    assert expressible(tower) == (name in THEIRS)
    if name not in THEIRS:
        with pytest.raises(ModelError, match=f"no part for a {type(tower).__name__} tower"):
            write(tower, tmp_path)


def test_prototypes_cannot_be_expressed() -> None:
    assert not expressible(Prototypes(["a"], torch.ones(1, 2)))
