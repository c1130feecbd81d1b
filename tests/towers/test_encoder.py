from __future__ import annotations

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


def test_chunks_give_the_embeddings_and_gradients_of_one_padded_pass(encoder: Encoder) -> None:
    encoder.chunk = 4
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


def test_little_is_padded(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder.chunk = 4
    shapes: list[torch.Size] = []
    inner = encoder.model.forward
    monkeypatch.setattr(encoder.model, "forward", lambda **kw: shapes.append(kw["input_ids"].shape) or inner(**kw))
    tokens = encoder.tokenize([*TEXTS, *AWKWARD])
    encoder(tokens)
    total = int(tokens.lengths.sum())
    assert sum(s.numel() for s in shapes) < 1.2 * total < tokens.mask().numel()


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
