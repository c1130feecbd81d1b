from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_towers import AWKWARD, SIZES, TEXTS, Make

from embedfit.errors import ModelError
from embedfit.towers import Encoder, Prototypes, Static, Tower, TwoTower, load, load_pretrained, read_facts, save

EVERYTHING = [*TEXTS, *AWKWARD]


def same(ours: TwoTower, theirs: TwoTower) -> None:
    assert ours.shared == theirs.shared
    for role in ("query", "document"):
        one, other = ours.tower(role), theirs.tower(role)
        assert type(one) is type(other)
        assert (one.dimension, one.max_tokens) == (other.dimension, other.max_tokens)
        for (name, a), (name_b, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
            assert name == name_b
            assert torch.equal(a, b), name


def folders(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


@pytest.fixture
def saved(make: Make, tmp_path: Path) -> Path:
    return save(TwoTower(make("gru")), tmp_path / "model")


@pytest.mark.parametrize("name", list(SIZES))
def test_a_saved_tower_comes_back_bit_for_bit(make: Make, tmp_path: Path, name: str) -> None:
    tower = make(name, dropout=0.3)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model = TwoTower(tower)
    again = load(save(model, tmp_path / "model"))
    same(model, again)
    assert np.array_equal(again.encode(EVERYTHING), model.encode(EVERYTHING))


@pytest.mark.parametrize("name", list(SIZES))
def test_dropout_comes_back_too(make: Make, tmp_path: Path, name: str) -> None:
    model = TwoTower(make(name, dropout=0.3))
    again = load(save(model, tmp_path / "model"))
    tokens = model.query.tokenize(TEXTS)
    outs = []
    for tower in (model.query.train(), again.query.train()):
        torch.manual_seed(0)
        outs.append(tower(tokens))
    assert torch.equal(*outs)
    assert not torch.equal(outs[0], model.query.eval()(tokens))


@pytest.mark.parametrize(
    ("query", "document"), [("ngram", "static"), ("gru", "gru"), ("static", "static"), ("transformer", "lstm")]
)
def test_two_towers_come_back(make: Make, tmp_path: Path, query: str, document: str) -> None:
    model = TwoTower(make(query, dimension=64, seed=1), make(document, dimension=64, seed=2))
    again = load(save(model, tmp_path / "model"))
    same(model, again)
    assert {"query", "document"} <= set(folders(tmp_path / "model"))


def test_prototypes_come_back_with_their_labels(make: Make, tmp_path: Path) -> None:
    labels = ["card_arrival", "丢失的卡", "top up"]
    model = TwoTower(make("ngram"), Prototypes.from_means(labels, torch.randn(3, 32)))
    again = load(save(model, tmp_path / "model"))
    same(model, again)
    assert np.array_equal(again.encode(labels, role="document"), model.encode(labels, role="document"))


def test_prompts_come_back_and_weights_are_written_once(make: Make, tmp_path: Path) -> None:
    tower = make("transformer")
    assert isinstance(tower, Encoder)
    model = TwoTower(tower.prompted("query: "), tower.prompted(""))
    folder = save(model, tmp_path / "model")
    again = load(folder)
    same(model, again)
    assert (again.query.prompt, again.document.prompt) == ("query: ", "")
    assert len(list(folder.rglob("*.safetensors"))) == 1


def test_a_model_that_was_read_can_be_saved_again(make: Make, tmp_path: Path) -> None:
    model = TwoTower(make("static", layers=1))
    again = load(save(load(save(model, tmp_path / "a")), tmp_path / "b"))
    same(model, again)


def test_dropout_and_cut_can_be_changed_on_reading(make: Make, tmp_path: Path) -> None:
    for name in ("static", "gru", "ngram", "transformer"):
        folder = save(TwoTower(make(name, dropout=0.3)), tmp_path / name)
        again = load_pretrained(str(folder), dropout=0.0, max_tokens=5)
        assert again.max_tokens == 5
        tokens = again.tokenize(TEXTS)
        assert torch.equal(again.train()(tokens), again.eval()(tokens))


def test_extra_facts_can_be_read_without_the_model(make: Make, tmp_path: Path) -> None:
    folder = save(TwoTower(make("static")), tmp_path / "model", extra={"recall@10": 0.9, "名": ["a"]})
    facts = read_facts(folder)
    assert facts["extra"] == {"recall@10": 0.9, "名": ["a"]}
    assert facts["roles"]["query"]["kind"] == "static"


def test_nothing_is_pickled(make: Make, tmp_path: Path) -> None:
    for name in SIZES:
        folder = save(TwoTower(make(name)), tmp_path / name)
        suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert suffixes <= {".json", ".md", ".safetensors"}


@pytest.mark.parametrize("name", ["static", "ngram"])
def test_the_model_card_names_the_libraries_that_read_the_folder(make: Make, tmp_path: Path, name: str) -> None:
    card = (save(TwoTower(make(name)), tmp_path / "model") / "README.md").read_text("utf-8")
    assert card.startswith("---\n")
    assert 'ef.load("path/to/this/folder")' in card
    assert ("SentenceTransformer(" in card) == (name == "static")


def test_saving_again_replaces_the_model_and_leaves_nothing_beside_it(saved: Path, make: Make) -> None:
    model = TwoTower(make("static"))
    save(model, saved)
    same(model, load(saved))
    assert folders(saved.parent) == ["model"]
    assert "1_Normalize" in folders(saved)
    assert "tokenizer.json" not in folders(saved)


def test_a_folder_that_is_no_model_of_ours_is_left_as_it_is(make: Make, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(ModelError, match=r"exists and is no model of embedfit; it is left as it is\nhint: choose"):
        save(TwoTower(make("static")), tmp_path)
    assert folders(tmp_path) == ["thesis.txt"]
    with pytest.raises(ModelError, match="is no model of embedfit"):
        save(TwoTower(make("static")), tmp_path / "thesis.txt")


def test_an_empty_folder_is_filled(make: Make, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    load(save(TwoTower(make("static")), tmp_path / "model"))


def test_a_save_that_fails_half_way_leaves_the_old_model(
    saved: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(saved)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedfit.towers.folder.write_json", full)
    with pytest.raises(ModelError, match="No space left on device\nhint: free space"):
        save(TwoTower(make("static")), saved)
    same(before, load(saved))
    assert folders(saved.parent) == ["model"]


def test_a_rename_that_fails_puts_the_old_model_back(saved: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(saved)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.startswith(".model.") and target == saved:
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ModelError, match="Permission denied"):
        save(TwoTower(make("static")), saved)
    same(before, load(saved))
    assert folders(saved.parent) == ["model"]


def test_a_tower_of_an_unknown_class_cannot_be_saved(make: Make, tmp_path: Path) -> None:
    class Odd(Tower):
        dimension, max_tokens = 2, 3

        def tokenize(self, texts: object) -> object: ...
        def token_counts(self, texts: object) -> object: ...
        def forward(self, tokens: object) -> object: ...

    with pytest.raises(ModelError, match="a tower of class Odd cannot be saved"):
        save(TwoTower(Odd()), tmp_path / "model")
    assert folders(tmp_path) == []


def test_a_missing_file_is_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks model.safetensors\nhint: was it copied whole\?"):
        load(saved)


def test_a_missing_tokeniser_is_named(saved: Path) -> None:
    (saved / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"lacks tokenizer.json"):
        load(saved)


def test_a_file_cut_short_is_named_with_both_sizes(saved: Path) -> None:
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ModelError, match=f"has {len(whole) - 10} bytes; {len(whole)} were written"):
        load(saved)


def test_weights_that_were_changed_are_noticed(saved: Path) -> None:
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="was changed after it was written"):
        load(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "'.*embedfit.json' is broken: "),
        ("[]", "'.*embedfit.json' is broken: it lacks"),
        ('{"format": 1}', "'.*embedfit.json' is broken: it lacks 'files'"),
    ],
)
def test_a_broken_manifest_is_named(saved: Path, content: str, message: str) -> None:
    (saved / "embedfit.json").write_text(content, "utf-8")
    with pytest.raises(ModelError, match=message):
        load(saved)


def edited(folder: Path, **changes: object) -> Path:
    manifest = json.loads((folder / "embedfit.json").read_text("utf-8"))
    for path, value in changes.items():
        place = manifest
        *above, last = path.split("__")
        for key in above:
            place = place[key]
        place[last] = value
    manifest["roles"]["document"] = manifest["roles"]["query"]
    (folder / "embedfit.json").write_text(json.dumps(manifest), "utf-8")
    return folder


def test_a_later_format_is_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match=r"has format 2; this version reads 1\nhint: update embedfit"):
        load(edited(saved, format=2))


def test_an_unknown_kind_is_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match="a tower of kind 'quantum', which this version does not know"):
        load(edited(saved, roles__query__kind="quantum"))


def test_settings_that_do_not_fit_the_weights_are_refused(saved: Path) -> None:
    with pytest.raises(ModelError, match="holds a gru tower that does not fit its settings"):
        load(edited(saved, roles__query__settings__hidden=7))
    with pytest.raises(ModelError, match="holds a gru tower that does not fit its settings"):
        load(edited(saved, roles__query__settings={"cell": "gru"}))


def test_block_counts_that_do_not_fit_are_refused(make: Make, tmp_path: Path) -> None:
    folder = save(TwoTower(make("static", layers=1)), tmp_path / "model")
    with pytest.raises(ModelError, match="do not fit the tower beside it"):
        load(edited(folder, roles__query__settings={"dropout": 0.1}))


def test_two_different_towers_are_not_one(make: Make, tmp_path: Path) -> None:
    folder = save(TwoTower(make("static", seed=1), make("static", seed=2)), tmp_path / "model")
    with pytest.raises(ModelError, match=r"has two different towers; expected one\nhint: set model.shared = false"):
        load_pretrained(str(folder))
    assert isinstance(load_pretrained(str(folder / "query")), Static)


def test_weights_of_a_loaded_model_do_not_depend_on_the_folder(saved: Path) -> None:
    model = load(saved)
    before = model.encode(TEXTS)
    weights = load_file(saved / "model.safetensors")
    save_file({name: tensor * 0 for name, tensor in weights.items()}, saved / "model.safetensors")
    assert np.array_equal(model.encode(TEXTS), before)
