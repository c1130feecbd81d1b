from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_towers import Make
from torch import Tensor, nn

from embedfit.towers import Encoder, packed
from embedfit.towers.packed import can_pack, pack
from embedfit.types import Tokens

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 1}
PACKED = {
    "albert": {"intermediate_size": 24, "embedding_size": 8, "max_position_embeddings": 14},
    "bert": {"intermediate_size": 24, "max_position_embeddings": 14},
    "camembert": {"intermediate_size": 24, "max_position_embeddings": 16},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 14},
    "electra": {"intermediate_size": 24, "embedding_size": 8, "max_position_embeddings": 14},
    "nomic_bert": {"intermediate_size": 24, "max_position_embeddings": 14, "head_dim": 8},
    "roberta": {"intermediate_size": 24, "max_position_embeddings": 16},
    "xlm-roberta": {"intermediate_size": 24, "max_position_embeddings": 16},
}
OTHERS = {
    "mpnet": {"intermediate_size": 24, "max_position_embeddings": 16},
    "modernbert": {"intermediate_size": 24, "max_position_embeddings": 64, "global_attn_every_n_layers": 2},
}


def small(kind: str, **given: Any) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(5)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **{**SIZES, **{**PACKED, **OTHERS}[kind], **given}))
    with torch.no_grad():  # positions and biases small models begin with would hide mistakes
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture
def ids() -> Tokens:
    """Far more tokens together than positions, lengths twice and once, and padding tokens amid a text."""
    torch.manual_seed(0)
    lengths = [3, 14, 1, 7, 3, 12, 7, 7, 5, 2]
    rows = [torch.randint(4, 60, (n,)).tolist() for n in lengths]
    rows[3][2] = rows[3][3] = rows[5][0] = 1
    return Tokens.of(rows)


def padded(model: nn.Module, tokens: Tokens) -> Tensor:
    """Mean of the states of one padded pass."""
    mask = tokens.mask()
    out = model(input_ids=tokens.padded(1), attention_mask=mask.long())[0]
    return (out * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def outcome(embed: Callable[[Tokens], Tensor], model: nn.Module, tokens: Tokens) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    out = embed(tokens)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out.detach(), {n: p.grad.to_dense() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", [*PACKED, *OTHERS])
def test_every_family_gives_the_embeddings_and_gradients_of_a_padded_pass(kind: str, make: Make, ids: Tokens) -> None:
    model = small(kind).eval()
    plain = copy.deepcopy(model)
    tokenizer: Any = make("transformer").tokenizer
    tower = Encoder(model, tokenizer, dimension=16, max_tokens=14).eval()
    assert tower.packed == (kind in PACKED)
    ours, gradients = outcome(tower, model, ids)
    theirs, expected = outcome(lambda t: padded(plain, t), plain, ids)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-5, name


def test_a_model_that_was_joined_still_runs_on_padded_texts(ids: Tokens) -> None:
    model = small("roberta").eval()
    before = padded(model, ids)
    packed.join(model)
    torch.testing.assert_close(padded(model, ids), before)


def test_the_words_keep_a_gradient_of_their_rows_alone(make: Make, ids: Tokens) -> None:
    model: Any = small("bert")
    tokenizer: Any = make("transformer").tokenizer
    Encoder(model, tokenizer, dimension=16, max_tokens=14)(ids).sum().backward()
    gradient = model.embeddings.word_embeddings.weight.grad
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) <= set(ids.ids.tolist())


@pytest.mark.parametrize(
    "given", [{"is_decoder": True}, {"attn_implementation": "eager"}], ids=["causal", "attention of the user's choice"]
)
def test_a_model_that_attends_otherwise_is_left_alone(given: dict[str, Any]) -> None:
    assert can_pack(small("bert"))
    assert not can_pack(small("bert", **given))
    assert not can_pack(nn.Linear(2, 2))


def test_nothing_of_it_is_saved(make: Make, tmp_path: Any) -> None:
    tower: Any = make("transformer")
    assert tower.packed
    tower.model.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text("utf-8")


# --- attention on its own ---------------------------------------------------------------------------------------------

LENGTHS = torch.tensor([1, 2, 2, 3, 3, 5, 8, 9])


def text_by_text(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, scale: float) -> Tensor:
    """[t, heads, size] in float64: softmax(q k') v within each text, written out."""
    parts = []
    for q, k, v in zip(*(x.double().split(lengths.tolist()) for x in (query, key, value)), strict=True):
        weights = torch.einsum("ihd,jhd->hij", q, k).mul(scale).softmax(-1)
        parts.append(torch.einsum("hij,jhd->ihd", weights, v))
    return torch.cat(parts)


def attention(slack: float, **settings: Any) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """What a layer gets for random input, the input, and its gradient."""
    torch.manual_seed(2)
    inputs = [torch.randn(int(LENGTHS.sum()), 3, 8, requires_grad=True) for _ in range(3)]
    rows = [x.transpose(0, 1)[None] for x in inputs]
    packing = pack(LENGTHS, slack=slack)
    out = packed._attend(nn.Identity(), *rows, None, packing=packing, scaling=0.4, **settings)[0][0]
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return out.detach(), inputs, [x.grad for x in inputs]


@pytest.mark.parametrize("slack", [0.0, 0.5, 1.0, 100.0])
def test_attention_within_texts_whatever_the_blocks(slack: float) -> None:
    out, inputs, gradients = attention(slack)
    plain = [x.detach().double().requires_grad_() for x in inputs]
    expected = text_by_text(*plain, LENGTHS, 0.4)
    (expected * torch.linspace(-1, 1, out.numel()).double().view_as(out)).sum().backward()
    torch.testing.assert_close(out.double(), expected, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(gradients, plain, strict=True):
        torch.testing.assert_close(ours.double(), theirs.grad, atol=1e-6, rtol=1e-6)


def test_without_slack_nothing_is_filled_up_and_with_it_there_are_fewer_blocks() -> None:
    exact, wide = pack(LENGTHS, slack=0.0), pack(LENGTHS, slack=1.0)
    assert [(b.texts, b.width, b.real) for b in exact.blocks] == [
        (1, 1, None),
        (2, 2, None),
        (2, 3, None),
        (1, 5, None),
        (1, 8, None),
        (1, 9, None),
    ]
    assert [(b.texts, b.width, b.tokens) for b in wide.blocks] == [(3, 2, 5), (3, 5, 11), (2, 9, 17)]
    assert wide.offsets.tolist() == [0, 1, 3, 5, 8, 11, 16, 24, 33]


def test_a_kernel_for_varying_lengths_is_handed_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, *, scale: float):
        assert cu_q.dtype == cu_k.dtype == torch.int32
        assert max_q == max_k == 9
        return text_by_text(q, k, v, cu_k.diff(), scale).float()

    plain, _, gradients = attention(0.0)
    monkeypatch.setattr(packed, "_kernel", lambda *_: kernel)
    out, _, through_kernel = attention(0.0)
    torch.testing.assert_close(out, plain)
    torch.testing.assert_close(through_kernel, gradients)
    monkeypatch.setattr(packed, "_kernel", lambda *_: pytest.fail("the kernel knows no dropout"))
    attention(0.0, dropout=0.1)


def test_dropout_of_attention_follows_the_seed_and_keeps_the_mean() -> None:
    plain = attention(0.0)[0]
    torch.manual_seed(0)
    rows = [torch.randn(1, 3, int(LENGTHS.sum()), 8) for _ in range(3)]
    settings: dict[str, Any] = {"packing": pack(LENGTHS), "scaling": 0.4}
    plain = packed._attend(nn.Identity(), *rows, None, **settings)[0]

    def noisy(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return packed._attend(nn.Identity(), *rows, None, dropout=0.2, **settings)[0]

    assert torch.equal(noisy(1), noisy(1))
    assert not torch.equal(noisy(1), noisy(2))
    mean = torch.stack([noisy(seed) for seed in range(400)]).mean(0)
    assert float((mean - plain).abs().max()) < 0.35
    assert float((mean - plain).square().mean().sqrt()) < 0.05
