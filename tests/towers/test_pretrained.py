from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_towers import AWKWARD, TEXTS, Make

from embedfit.errors import ModelError
from embedfit.towers import Encoder, Static, TwoTower, load, load_pretrained, save
from embedfit.towers.hugging_face import read_model

EVERYTHING = [*TEXTS, *AWKWARD]
Load = Callable[[object], Any]


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text("utf-8"))
    content.update(changes)
    path.write_text(json.dumps(content), "utf-8")


def as_theirs(folder: Path) -> Path:
    """A folder of ours as if sentence-transformers had written it."""
    (folder / "embedfit.json").unlink()
    return folder


@pytest.fixture
def encoder(make: Make, tmp_path: Path) -> Path:
    return as_theirs(save(TwoTower(make("transformer")), tmp_path / "encoder"))


@pytest.fixture
def static(make: Make, tmp_path: Path) -> Path:
    return as_theirs(save(TwoTower(make("static")), tmp_path / "static"))


# --- the real MiniLM --------------------------------------------------------------------------------------------------


def test_minilm_is_read_with_its_own_limits_and_packed(minilm: str) -> None:
    tower = load_pretrained(minilm)
    assert isinstance(tower, Encoder)
    assert (tower.dimension, tower.max_tokens, tower.pooling) == (384, 256, ("mean",))
    assert tower.packed
    assert {p.dtype for p in tower.parameters()} == {torch.float32}


def test_every_parameter_of_minilm_takes_part(minilm: str) -> None:
    tower = load_pretrained(minilm).eval()
    tower(tower.tokenize(TEXTS[:4])).square().sum().backward()
    assert not [name for name, p in tower.named_parameters() if p.grad is None]


def test_dropout_and_cut_of_minilm_can_be_chosen(minilm: str) -> None:
    tower = load_pretrained(minilm, dropout=0.25, max_tokens=12)
    assert isinstance(tower, Encoder)
    config: Any = tower.model.config
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.25
    tokens = tower.tokenize(["word " * 50, "word"])
    assert tokens.lengths.tolist() == [12, 3]
    assert tokens.ids[11] == tokens.ids[-1]  # [SEP] survives the cut
    assert load_pretrained(minilm, max_tokens=9999).max_tokens == 256


# --- what else is understood ------------------------------------------------------------------------------------------


def test_a_plain_hugging_face_folder_is_pooled_by_mean(minilm: str, sentence_transformer: Load, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(Path(minilm) / name, tmp_path)
    ours = load(tmp_path)
    np.testing.assert_allclose(ours.encode(TEXTS), TwoTower(load_pretrained(minilm)).encode(TEXTS), atol=1e-6)
    assert ours.query.max_tokens == 512


def test_prompts_by_role_are_put_and_the_default_one_where_there_are_none(encoder: Path) -> None:
    settings = encoder / "config_sentence_transformers.json"
    edit(settings, prompts={"query": "q: ", "passage": "p: ", "other": "x: "}, default_prompt_name="other")
    model = load(encoder)
    assert (model.query.prompt, model.document.prompt) == ("q: ", "p: ")
    assert model.query.model is model.document.model
    assert load_pretrained(str(encoder)).prompt == "q: "
    edit(settings, prompts={"other": "x: "})
    model = load(encoder)
    assert model.shared
    assert model.query.prompt == "x: "
    edit(settings, prompts={"other": "x: "}, default_prompt_name=None)
    assert load(encoder).query.prompt == ""


def test_a_folder_that_asks_for_lower_case_gets_it(make: Make, sentence_transformer: Load, encoder: Path) -> None:
    state = json.loads((encoder / "tokenizer.json").read_text("utf-8"))
    state["normalizer"] = None
    (encoder / "tokenizer.json").write_text(json.dumps(state), "utf-8")
    assert not torch.equal(*(load(encoder).query.tokenize([t]).ids for t in ("card", "CARD")))
    edit(encoder / "sentence_bert_config.json", do_lower_case=True)
    model = load(encoder)
    assert torch.equal(*(model.query.tokenize([t]).ids for t in ("card", "CARD")))
    again = save(model, encoder.parent / "again")
    for folder in (encoder, again):
        np.testing.assert_allclose(model.encode(TEXTS), sentence_transformer(folder).encode(list(TEXTS)), atol=1e-5)
    assert np.array_equal(load(again).encode(TEXTS), model.encode(TEXTS))


def test_a_model2vec_table_is_folded(static: Path, sentence_transformer: Load) -> None:
    place = static / "0_StaticEmbedding"
    table = load_file(place / "model.safetensors")["embedding.weight"]
    mapping = torch.arange(len(table)) // 2
    weights = torch.rand(len(table))
    save_file({"embeddings": table, "mapping": mapping, "weights": weights}, place / "model.safetensors")
    np.testing.assert_allclose(
        load(static).encode(EVERYTHING), sentence_transformer(static).encode(EVERYTHING), atol=1e-5
    )


def test_a_static_folder_without_a_cut_cuts_nowhere(static: Path) -> None:
    edit(static / "0_StaticEmbedding" / "tokenizer.json", truncation=None)
    tower = load(static).query
    assert isinstance(tower, Static)
    assert len(tower.tokenize(["my card " * 5000]).ids) == 10_000
    assert load_pretrained(str(static), max_tokens=7).tokenize(["my card " * 5000]).lengths.tolist() == [7]


def test_newer_pooling_settings_are_understood(encoder: Path) -> None:
    path = encoder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({"embedding_dimension": 64, "pooling_mode": ["cls", "mean"]}), "utf-8")
    tower = load(encoder).query
    assert isinstance(tower, Encoder)
    assert (tower.pooling, tower.dimension) == (("cls", "mean"), 128)


# --- what is not understood, missing or broken ------------------------------------------------------------------------


def test_a_misspelt_path_names_the_nearest_folder(encoder: Path) -> None:
    with pytest.raises(ModelError, match=rf"no model folder at '.*encodr'\nhint: did you mean '{encoder}'\?"):
        load(encoder.parent / "encodr")
    with pytest.raises(
        ModelError, match=rf"no model folder at .*\nhint: in '{encoder.parent}' there are the folders enc"
    ):
        load(encoder.parent / "zzz" / "www")


def test_a_relative_path_with_an_existing_first_folder_is_a_path(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(encoder.parent)
    with pytest.raises(ModelError, match=r"no model folder at 'encoder/2_Normalise'\nhint: did you mean"):
        load("encoder/2_Normalise")


def test_a_file_is_no_model(encoder: Path) -> None:
    with pytest.raises(ModelError, match=rf"is a file; expected the folder of a model\nhint: try '{encoder}'"):
        load(encoder / "model.safetensors")


def test_a_hub_name_without_network_is_an_error_at_once(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(encoder.parent)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = r"'org/name' is no folder here, and HF_HUB_OFFLINE is set\nhint: copy the model's folder"
    with pytest.raises(ModelError, match=message):
        load_pretrained("org/name")
    with pytest.raises(ModelError, match=r"hint: did you mean 'encoder'\?"):
        load_pretrained("encodre")


def test_a_hub_that_cannot_be_reached_is_asked_once_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[float] = []

    def fail(self: object, name: str, *, timeout: float) -> None:
        asked.append(timeout)
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(
        ModelError, match=r"'org/name' is no folder here, and the hub cannot be reached \(ConnectionError\)"
    ):
        load_pretrained("org/name")
    assert asked == [10.0]


def test_a_folder_without_a_model_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has neither modules.json nor config.json\nhint: expected the folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("kind", "at", "name"),
    [
        ("encoder", 0, "CLIPModel"),
        ("encoder", 1, "WordWeights"),
        ("encoder", 2, "LayerNorm"),
        ("static", 0, "BoW"),
        ("static", 1, "Dropout"),
    ],
)
def test_an_unknown_module_is_named(request: pytest.FixtureRequest, kind: str, at: int, name: str) -> None:
    folder: Path = request.getfixturevalue(kind)
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[at]["type"] = f"sentence_transformers.models.{name}"
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(ModelError, match=rf"module '{name}'.*\nhint: understood are Transformer with Pooling"):
        load(folder)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ("[", "modules.json' is broken"),
        ("[]", "begins with no module"),
        ('[{"idx": 0}]', "an entry lacks its type or path"),
        ('[{"path": "../..", "type": "sentence_transformers.models.Transformer"}]', "points outside its folder"),
        ('[{"path": "", "type": "sentence_transformers.models.Router"}]', "holds two towers"),
    ],
)
def test_a_broken_list_of_modules_is_named(encoder: Path, modules: str, message: str) -> None:
    (encoder / "modules.json").write_text(modules, "utf-8")
    with pytest.raises(ModelError, match=message):
        load(encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pooling_mode": "weightedmean"},
            r"pools by 'weightedmean', which is not understood\nhint: understood are cls",
        ),
        ({"include_prompt": False}, "pools without the prompt"),
    ],
)
def test_unknown_pooling_is_named(encoder: Path, change: dict[str, object], message: str) -> None:
    edit(encoder / "1_Pooling" / "config.json", **change)
    with pytest.raises(ModelError, match=message):
        load(encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "os.system"}, "Dense module with os.system"),
        ({"use_residual": True}, "Dense module with use_residual"),
        ({"module_input_name": "token_embeddings"}, "Dense module with module_input_name"),
        ({"out_features": 5}, "does not fit 32 features before it"),
    ],
)
def test_unknown_dense_layers_are_named(make: Make, tmp_path: Path, change: dict[str, object], message: str) -> None:
    folder = as_theirs(save(TwoTower(make("static", layers=1)), tmp_path / "model"))
    edit(folder / "1_Dense" / "config.json", **change)
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_prompts_for_static_embeddings_are_not_dropped_silently(static: Path) -> None:
    edit(static / "config_sentence_transformers.json", prompts={"query": "q: "})
    with pytest.raises(ModelError, match="wants prompts before its texts"):
        load(static)


@pytest.mark.parametrize("kind", ["encoder", "static"])
def test_a_pickle_is_never_read(request: pytest.FixtureRequest, kind: str) -> None:
    folder: Path = request.getfixturevalue(kind)
    weights = next(folder.rglob("*.safetensors"))
    weights.rename(weights.parent / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only as 'pytorch_model.bin', a pickle.*\nhint: where you trust it, convert"):
        load(folder)


@pytest.mark.parametrize("kind", ["encoder", "static"])
def test_missing_weights_are_named(request: pytest.FixtureRequest, kind: str) -> None:
    folder: Path = request.getfixturevalue(kind)
    next(folder.rglob("*.safetensors")).unlink()
    with pytest.raises(ModelError, match=r"lacks model.safetensors"):
        load(folder)


@pytest.mark.parametrize("kind", ["encoder", "static"])
def test_weights_cut_short_are_an_error(request: pytest.FixtureRequest, kind: str) -> None:
    folder: Path = request.getfixturevalue(kind)
    weights = next(folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"is broken|cannot be loaded"):
        load(folder)


def test_weights_that_lack_a_layer_are_an_error(encoder: Path) -> None:
    path = encoder / "model.safetensors"
    kept = {name: t for name, t in load_file(path).items() if "layer.1." not in name}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 16 weights of its model, 'encoder.layer.1.* among them\nhint: was it"):
        load(encoder)


def test_a_static_folder_without_a_table_is_an_error(static: Path) -> None:
    save_file({"other": torch.zeros(2)}, static / "0_StaticEmbedding" / "model.safetensors")
    with pytest.raises(ModelError, match=r"neither 'embedding.weight' nor 'embeddings'"):
        load(static)


def test_a_broken_or_missing_tokeniser_is_an_error(static: Path, encoder: Path) -> None:
    (static / "0_StaticEmbedding" / "tokenizer.json").write_text("{}", "utf-8")
    with pytest.raises(ModelError, match=r"tokenizer.json' is broken"):
        load(static)
    (encoder / "tokenizer.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="has no tokeniser that can be loaded"):
        load(encoder)
    (encoder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"has no tokeniser\nhint: expected a tokenizer.json"):
        load(encoder)


def test_a_missing_or_unknown_config_is_an_error(encoder: Path, tmp_path: Path) -> None:
    edit(encoder / "config.json", model_type="quantum-bert")
    with pytest.raises(ModelError, match=r"cannot be loaded: .*quantum-bert"):
        load(encoder)
    (encoder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"lacks config.json"):
        load(encoder)


def test_reading_leaves_transformers_as_talkative_as_it_was(encoder: Path) -> None:
    from transformers.utils import logging

    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    read_model(encoder, dropout=None)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
