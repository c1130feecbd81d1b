"""What every tower has in common, and how sizes are chosen."""

from __future__ import annotations

import pytest
import torch
from small_towers import AWKWARD, SIZES, TEXTS, Make

from embedfit.errors import ModelError
from embedfit.towers import KINDS, build

ALL = pytest.mark.parametrize("name", list(SIZES))


@ALL
def test_the_same_seed_gives_the_same_tower_and_another_seed_another(make: Make, name: str) -> None:
    first, again, other = make(name, seed=3), make(name, seed=3), make(name, seed=4)
    texts = [*TEXTS, *AWKWARD]
    assert torch.equal(first.tokenize(texts).ids, again.tokenize(texts).ids)
    pairs = list(zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@ALL
def test_building_leaves_the_random_state_alone(make: Make, name: str) -> None:
    before = torch.get_rng_state()
    make(name)
    assert torch.equal(torch.get_rng_state(), before)


@ALL
def test_an_embedding_does_not_depend_on_its_batch_mates(make: Make, name: str) -> None:
    tower = make(name).eval()
    tokens = tower.tokenize([*TEXTS, *AWKWARD])
    together = tower(tokens)
    alone = torch.cat([tower(tokens.select(torch.tensor([i]))) for i in range(len(tokens))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@ALL
def test_gradient_reaches_every_parameter(make: Make, name: str) -> None:
    torch.manual_seed(0)
    tower = make(name).eval()
    with torch.no_grad():  # a zero layer, as residual blocks have at first, holds up the gradient behind it
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    out = tower(tower.tokenize([*TEXTS, *AWKWARD]))
    (out * torch.randn_like(out)).sum().backward()
    missing = [name for name, p in tower.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing


@ALL
def test_long_texts_are_cut_and_counted_whole(make: Make, name: str) -> None:
    tower = make(name, max_tokens=6)
    long = " ".join(TEXTS)
    assert tower.tokenize([long]).lengths.tolist() == [6]
    assert tower.token_counts([long])[0] >= 100
    assert tower.token_counts([""]) == tower.tokenize([""]).lengths.tolist()


@ALL
def test_output_has_the_dimension_promised_and_is_fp32(make: Make, name: str) -> None:
    tower = make(name)
    out = tower(tower.tokenize(TEXTS))
    assert out.shape == (len(TEXTS), tower.dimension)
    assert out.dtype == torch.float32
    assert tower(tower.tokenize([])).shape == (0, tower.dimension)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_left_open_are_chosen_by_kind(kind: str) -> None:
    tower = build(kind, TEXTS)
    assert tower.dimension == (1024 if kind == "ngram" else 256)
    assert tower.tokenize(TEXTS).lengths.tolist() == tower.token_counts(TEXTS)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ({"dimension": 0}, "model.dimension is 0; expected 1 or more for 'gru'"),
        ({"layers": 0}, "model.layers is 0; expected 1 or more for 'gru'"),
        ({"max_tokens": 0}, "model.max_tokens is 0"),
        ({"dropout": 1.0}, "model.dropout is 1.0; expected 0 or more and less than 1"),
    ],
)
def test_impossible_sizes_are_an_error(size: dict[str, float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build("gru", TEXTS, **size)


def test_a_misspelt_kind_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"there is no tower 'statik'\nhint: did you mean 'static'\?"):
        build("statik", TEXTS)


def test_a_pretrained_model_has_its_own_sizes() -> None:
    with pytest.raises(ModelError, match=r"model.layers = 3 cannot be chosen for the pretrained model 'some/path'"):
        build("some/path", TEXTS, layers=3)
