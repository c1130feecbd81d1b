"""Texts end to end in one row: linear layers see real tokens only, and attention stays within each text.

A model of a family named here runs on the row as it is, through the attention interface of transformers; nothing of the
model is written anew. Attention takes one of three ways, all of them exact: torch's kernel for varying lengths where it
can be used, blocks of equally long texts on a processor, rectangles of nearly equal ones on any other device.
"""

from __future__ import annotations

__all__ = ["Block", "Packing", "can_pack", "join", "pack", "positions"]

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embedfit.types import Tokens

_NAME = "embedfit_packed"
_FROM_ZERO = frozenset({"albert", "bert", "distilbert", "electra", "nomic_bert"})
_AFTER_PADDING = frozenset({"camembert", "roberta", "xlm-roberta"})
"""Families whose positions begin after the id of their padding token, and count no such token."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Neighbouring texts of a row that attention takes together.

    Attributes:
        texts: how many.
        width: tokens of the longest.
        tokens: of all of them.
        fill: where the shorter ones are filled up: which of the block's tokens stands in each of texts x width places.
        real: which of these places hold a token of the text itself.
    """

    texts: int
    width: int
    tokens: int
    fill: Int[Tensor, " places"] | None = None
    real: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """Where the texts of a row begin and end; the shortest stand first.

    Attributes:
        offsets: first token of each text, and behind it the number of all tokens.
        blocks: the texts again, for kernels that want rectangles.
    """

    offsets: Int[Tensor, " n_and_one"]
    blocks: tuple[Block, ...]


def can_pack(model: nn.Module) -> bool:
    """Whether the model is of a family that runs on packed rows in the installed transformers."""
    try:
        from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel  # noqa: F401
    except ImportError:  # before 4.53
        return False
    if not isinstance(model, PreTrainedModel):
        return False
    config: Any = model.config
    settings = config.to_dict()
    return bool(
        config.model_type in _FROM_ZERO | _AFTER_PADDING
        and model._supports_attention_backend
        and config._attn_implementation in ("sdpa", _NAME)
        and not settings.get("is_decoder", False)
        and settings.get("position_embedding_type", "absolute") in ("absolute", None)
    )


def join(model: nn.Module) -> None:
    """Have the model attend by packings where it is given one, and as it did before where it is not."""
    _register()
    config: Any = model.config
    config._attn_implementation = _NAME


def pack(lengths: Int[Tensor, " n"], *, slack: float | None = None) -> Packing:
    """How attention goes through the texts of a row.

    Args:
        lengths: tokens of each text, in ascending order, none of them 0.
        slack: how much longer than the shortest the longest text of a block may be, as a share of the shortest; none:
            as suits the device.
    """
    if slack is None:  # a call costs a processor little and padding much; elsewhere it is the other way round
        slack = 0.0 if lengths.device.type == "cpu" else 1.0
    offsets = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    return Packing(offsets, tuple(_blocks(lengths.tolist(), slack, lengths.device)))


def positions(tokens: Tokens, config: Any) -> Int[Tensor, " t"]:
    """Position of every token in its text, as the family of the model counts."""
    if config.model_type not in _AFTER_PADDING:
        return torch.arange(len(tokens.ids), device=tokens.ids.device) - tokens.starts().repeat_interleave(
            tokens.lengths
        )
    # as create_position_ids_from_input_ids has it: a padding token amid a text has no position of its own
    counted = (tokens.ids != config.pad_token_id).long()
    total = counted.cumsum(0)
    before = (total - counted)[tokens.starts()].repeat_interleave(tokens.lengths)
    return (total - before) * counted + config.pad_token_id


def _blocks(lengths: list[int], slack: float, device: torch.device) -> list[Block]:
    """Cut a sorted list where a text is longer than the first of its block by more than this share of it."""
    out, start = [], 0
    while start < len(lengths):
        end = start + 1
        while end < len(lengths) and lengths[end] <= lengths[start] * (1 + slack):
            end += 1
        out.append(_block(lengths[start:end], device))
        start = end
    return out


def _block(lengths: list[int], device: torch.device) -> Block:
    width, total = lengths[-1], sum(lengths)
    if lengths[0] == width:
        return Block(len(lengths), width, total)
    sizes = torch.tensor(lengths, device=device)
    real = torch.arange(width, device=device) < sizes[:, None]
    first = (sizes.cumsum(0) - sizes)[:, None]
    fill = torch.where(real, first + torch.arange(width, device=device), first)
    return Block(len(lengths), width, total, fill.flatten(), real)


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)


def _attend(
    module: nn.Module,
    query: Float[Tensor, "one heads t size"],
    key: Float[Tensor, "one heads t size"],
    value: Float[Tensor, "one heads t size"],
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """What a layer of transformers calls: the output [one, t, heads, size], and no attention weights."""
    if packing is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    dropout, scale = settings.get("dropout", 0.0), settings.get("scaling")
    row = [x[0].transpose(0, 1) for x in (query, key, value)]
    kernel = _kernel(query.device, query.dtype, query.shape[-1]) if dropout == 0 else None
    if kernel is not None:
        longest = packing.blocks[-1].width
        return kernel(*row, packing.offsets, packing.offsets, longest, longest, scale=scale)[None], None
    sizes = [block.tokens for block in packing.blocks]
    parts = zip(packing.blocks, *(x.split(sizes) for x in row), strict=True)
    return torch.cat([_within(block, *part, dropout=dropout, scale=scale) for block, *part in parts])[None], None


def _within(
    block: Block,
    query: Float[Tensor, "t heads size"],
    key: Float[Tensor, "t heads size"],
    value: Float[Tensor, "t heads size"],
    *,
    dropout: float,
    scale: float | None,
) -> Float[Tensor, "t heads size"]:
    """Attention of each token to the tokens of its own text, for the texts of one block."""
    shape = (block.texts, block.width, *query.shape[1:])
    filled = [x if block.fill is None else x.index_select(0, block.fill) for x in (query, key, value)]
    mask = None if block.real is None else block.real[:, None, None, :]
    q, k, v = (x.view(shape).transpose(1, 2) for x in filled)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale).transpose(1, 2)
    return out.flatten(0, 1) if block.real is None else out[block.real]


@cache
def _kernel(device: torch.device, dtype: torch.dtype, size: int) -> Callable[..., Any] | None:
    """Torch's flash attention for varying lengths where it is there and runs: half precision, no dropout, Ampere on."""
    if device.type != "cuda" or torch.version.hip or dtype not in (torch.float16, torch.bfloat16):
        return None
    if size % 8 or size > 256 or torch.cuda.get_device_capability(device) < (8, 0):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before 2.10
        return None
    return varlen_attn
