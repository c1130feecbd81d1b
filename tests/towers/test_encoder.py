from __future__ import annotations

from typing import Any

import pytest
import torch
from small_towers import AWKWARD, TEXTS, Make
from torch import nn

from embedfit.towers import Encoder
from embedfit.types import Tokens

LETTERS = ("a", "b c", "d e f", "g h i j")


@pytest.fixture
def encoder(make: Make) -> Encoder:
    tower = make("transformer", dropout=0.0)
    assert isinstance(tower, Encoder)
    return tower


def one_padded_pass(tower: Encoder, tokens: Tokens) -> torch.Tensor:
    mask = tokens.mask()
    states = tower.model(input_ids=tokens.padded(0), attention_mask=mask.long())[0]
    return (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@pytest.mark.parametrize("packed", [True, False])
def test_rows_and_chunks_give_the_embeddings_and_gradients_of_one_padded_pass(encoder: Encoder, packed: bool) -> None:
    encoder.packed, encoder.chunk, encoder.row = packed, 4, 60
    tokens = encoder.tokenize([*TEXTS, *AWKWARD])
    weight = torch.randn(len(tokens), encoder.dimension)
    results = []
    for embed in (encoder, lambda t: one_padded_pass(encoder, t)):
        encoder.zero_grad()
        out = embed(tokens)
        (out * weight).sum().backward()
        results.append(
            (out.detach(), torch.cat([p.grad.to_dense().flatten() for p in encoder.parameters() if p.grad is not None]))
        )
    (ours, our_gradient), (plain, plain_gradient) = results
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    assert (our_gradient - plain_gradient).norm() < 1e-5 * plain_gradient.norm()


def shapes_of(encoder: Encoder, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Of the ids that the model is called with."""
    shapes: list[torch.Size] = []
    inner = encoder.model.forward
    monkeypatch.setattr(encoder.model, "forward", lambda **kw: shapes.append(kw["input_ids"].shape) or inner(**kw))
    encoder(tokens)
    return shapes


def test_nothing_is_padded_in_rows_of_bounded_length(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder.row = 90
    tokens = encoder.tokenize([*TEXTS, *AWKWARD])
    shapes = shapes_of(encoder, tokens, monkeypatch)
    assert sum(s.numel() for s in shapes) == int(tokens.lengths.sum())
    assert len(shapes) > 1
    assert all(s[0] == 1 and s[1] < 90 + encoder.max_tokens for s in shapes)


def test_little_is_padded_where_a_model_cannot_be_packed(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder.packed, encoder.chunk = False, 4
    tokens = encoder.tokenize([*TEXTS, *AWKWARD])
    total = int(tokens.lengths.sum())
    assert sum(s.numel() for s in shapes_of(encoder, tokens, monkeypatch)) < 1.2 * total < tokens.mask().numel()


def test_equal_texts_run_once_in_evaluation_mode(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], "", TEXTS[1], TEXTS[0], ""]
    tokens = encoder.tokenize(texts)
    apart = [encoder(encoder.tokenize([text])).detach() for text in texts]
    encoder.eval()
    with monkeypatch.context() as patch:
        shapes = shapes_of(encoder, tokens, patch)
    assert sum(s.numel() for s in shapes) == int(encoder.tokenize([TEXTS[0], TEXTS[1], ""]).lengths.sum())
    weight = torch.randn(len(texts), encoder.dimension)
    gradients = []
    for mode in (False, True):  # without dropout, both give the sum of the copies' gradients
        encoder.train(mode).zero_grad()
        out = encoder(tokens)
        torch.testing.assert_close(out.detach(), torch.cat(apart))
        (out * weight).sum().backward()
        gradients.append(torch.cat([p.grad.to_dense().flatten() for p in encoder.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()


def test_equal_texts_have_dropout_of_their_own_while_training(make: Make) -> None:
    tower = make("transformer", dropout=0.2)
    first, second = tower(tower.tokenize([TEXTS[0]] * 2))
    assert not torch.allclose(first, second, atol=1e-3)
    first, second = tower.eval()(tower.tokenize([TEXTS[0]] * 2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("packed", [True, False])
def test_dropout_reaches_every_layer_and_follows_the_seed(make: Make, packed: bool) -> None:
    tower: Any = make("transformer", dropout=0.2)
    tower.packed = packed
    tokens = tower.tokenize(TEXTS)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        tower.zero_grad()
        out = tower(tokens)
        out.square().sum().backward()
        assert all(torch.isfinite(p.grad.to_dense()).all() for p in tower.parameters() if p.grad is not None)
        runs.append(out.detach())
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2], atol=1e-3)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_every_pooling_of_a_row_is_that_of_a_rectangle(encoder: Encoder, pooling: Any) -> None:
    tower = Encoder(encoder.model, encoder.tokenizer, dimension=64, max_tokens=40, pooling=(pooling, "cls"))
    tokens = tower.tokenize([*TEXTS, *AWKWARD])
    results = []
    for packed in (True, False):
        tower.packed = packed
        tower.zero_grad()
        tower.dimension = 128
        out = tower(tokens)
        out.square().sum().backward()
        results.append((out.detach(), [p.grad.to_dense() for p in tower.parameters() if p.grad is not None]))
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)


class Identity(nn.Module):
    """A "model" whose states are the ids themselves, so that pooling can be read off."""

    class config:
        pad_token_id = 7

    def get_input_embeddings(self) -> nn.Embedding:
        return nn.Embedding(1, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert torch.equal(input_ids == 7, attention_mask == 0)
        return (torch.stack([input_ids.float(), -input_ids.float()], dim=2),)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (("mean",), [[2.0, -2.0], [5.0, -5.0]]),
        (("cls",), [[1.0, -1.0], [5.0, -5.0]]),
        (("lasttoken",), [[3.0, -3.0], [5.0, -5.0]]),
        (("max",), [[3.0, -1.0], [5.0, -5.0]]),
        (("cls", "lasttoken"), [[1.0, -1.0, 3.0, -3.0], [5.0, -5.0, 5.0, -5.0]]),
    ],
)
def test_pooling_sees_real_tokens_only(encoder: Encoder, pooling: tuple, expected: list[list[float]]) -> None:
    tower = Encoder(Identity(), encoder.tokenizer, dimension=2 * len(pooling), max_tokens=9, pooling=pooling)
    assert tower(Tokens.of([[1, 2, 3], [5]])).tolist() == expected


def test_a_text_without_tokens_is_the_zero_vector(encoder: Encoder) -> None:
    tower = Encoder(Identity(), encoder.tokenizer, dimension=2, max_tokens=9)
    assert tower(Tokens.of([[], [5], []])).tolist() == [[0.0, 0.0], [5.0, -5.0], [0.0, 0.0]]
    assert tower(Tokens.of([[], []])).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_prompt_stands_before_every_text_and_shares_all_weights(encoder: Encoder) -> None:
    twin = encoder.prompted("query: ")
    assert torch.equal(twin.tokenize(["card"]).ids, encoder.tokenize(["query: card"]).ids)
    assert twin.token_counts(["card"]) == encoder.token_counts(["query: card"])
    assert twin.is_twin(encoder)
    assert not encoder.prompt
    assert {id(p) for p in twin.parameters()} == {id(p) for p in encoder.parameters()}
