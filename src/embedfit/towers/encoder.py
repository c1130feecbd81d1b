"""`Encoder`: a Hugging Face model, pooled. No padding where the model can be packed, next to none where it cannot."""

from __future__ import annotations

__all__ = ["Encoder", "Kept", "Pooling"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from embedfit.towers import tokenizer as subwords
from embedfit.towers.base import Tower
from embedfit.towers.dropout import replace_dropout
from embedfit.towers.packed import can_pack, join, pack, positions
from embedfit.types import Tokens

Pooling = Literal["cls", "max", "mean", "lasttoken"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """What came with a model, is not needed to run it, and is written with it again.

    Attributes:
        files: the tokeniser's own files by name.
        weights: weights that play no part in an embedding (BERT's pooler) by their name in the model.
        lower_case: whether the folder asks for lower case that the tokeniser's own file does not bring about.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    lower_case: bool = False


class Encoder(Tower):
    """A transformer, pooling over its last hidden states, then dense layers.

    Texts stand end to end in one row (see `embedfit.towers.packed`); a model of a family that cannot be packed runs on
    rectangles of texts of similar length. In evaluation mode equal texts of a call run once. While training each has
    dropout of its own, as if it were the only one.

    Args:
        model: a Hugging Face model: ids and attention mask in, last hidden states first in its output.
        tokenizer: its sub-words with the template of special tokens; truncation is set to `max_tokens`.
        pooling: how token states become one embedding; several are concatenated.
        head: layers after pooling.
        dimension: size of an embedding after the head.
        max_tokens: longer texts are cut here, special tokens included.
        kept: what is written with the model though it plays no part in running it.

    Attributes:
        prompt: put before every text, as some models were trained to expect.
    """

    micro: int = 64
    chunk: int = 32
    """Texts that share one rectangle of token ids, for models that cannot be packed. Fewer means less padding and more
    calls."""
    row: int = 8_192
    """Tokens of a packed row at most, unless one text has more; bounds the memory of a pass without gradient."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        *,
        dimension: int,
        max_tokens: int,
        pooling: Sequence[Pooling] = ("mean",),
        head: Sequence[nn.Module] = (),
        kept: Kept | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        subwords.limit(tokenizer, max_tokens)
        self.pooling = tuple(pooling)
        self.head = nn.Sequential(*head)
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.prompt = ""
        self.kept = kept or Kept()
        # a batch names few of the words: the gradient then holds their rows alone, and so does the optimiser's work
        words = model.get_input_embeddings()  # type: ignore[operator]
        if isinstance(words, nn.Embedding):
            words.sparse = True
        replace_dropout(model)
        self.packed = can_pack(model)
        if self.packed:
            join(model)
        config: Any = model.config
        self._padding = 0 if config.pad_token_id is None else int(config.pad_token_id)

    def prompted(self, prompt: str) -> Encoder:
        """The same encoder, weights and all, that puts `prompt` before every text."""
        twin = Encoder(
            self.model,
            self.tokenizer,
            dimension=self.dimension,
            max_tokens=self.max_tokens,
            pooling=self.pooling,
            kept=self.kept,
        )
        twin.head = self.head
        twin.prompt = prompt
        return twin

    def is_twin(self, other: Encoder) -> bool:
        """Whether the other encoder is this one, but for its prompt."""
        return self.model is other.model and self.head is other.head

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of each text with its prompt and special tokens, cut to `max_tokens`."""
        return subwords.encode(self.tokenizer, self._with_prompt(texts), special=True)

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text before it is cut, prompt and special tokens included."""
        return subwords.count(self.tokenizer, self._with_prompt(texts), special=True)

    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """One embedding per text; the same as one padded pass up to rounding, for a fraction of its padding."""
        if self.training:
            return self._forward(tokens)
        first, place = _distinct(tokens)
        return self._forward(tokens) if len(first) == len(tokens) else self._forward(tokens.select(first))[place]

    def _forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        order = tokens.lengths.argsort(stable=True)
        # A text without any token (a tokeniser without special tokens, an empty text) has nothing to attend to.
        order = order[int((tokens.lengths == 0).sum()) :]
        out = torch.zeros(len(tokens), self.dimension, device=tokens.ids.device)
        if not len(order):
            return out
        if self.packed:
            done = torch.cat([self._row(tokens.select(rows)) for rows in _rows(order, tokens.lengths, self.row)])
        else:
            done = torch.cat([self._rectangle(tokens.select(rows)) for rows in order.split(self.chunk)])
        return out.index_copy(0, order, self.head(done).float())

    def _with_prompt(self, texts: Sequence[str]) -> Sequence[str]:
        return [self.prompt + text for text in texts] if self.prompt else texts

    def _row(self, tokens: Tokens) -> Float[Tensor, "m h"]:
        states = self.model(
            input_ids=tokens.ids.long()[None],
            position_ids=positions(tokens, self.model.config)[None],
            packing=pack(tokens.lengths),
            return_dict=True,
        )[0][0]
        return torch.cat([_pool_row(states, tokens, how) for how in self.pooling], dim=1)

    def _rectangle(self, tokens: Tokens) -> Float[Tensor, "m h"]:
        # Filled up on the right, default positions (0, 1, 2, ...) are right for every text; the id does not matter
        # where the mask is zero, except to models that count positions from it, so it is the model's own.
        mask, ids = tokens.mask(), tokens.padded(self._padding).long()
        states = self.model(input_ids=ids, attention_mask=mask.long(), return_dict=True)[0]
        return torch.cat([_pool(states, mask, how) for how in self.pooling], dim=1)


def _distinct(tokens: Tokens) -> tuple[Int[Tensor, " u"], Int[Tensor, " n"]]:
    """First text of each kind, and which of these each text equals."""
    ids, seen = tokens.ids.cpu().numpy(), dict[bytes, int]()
    ends = tokens.lengths.cumsum(0).tolist()
    place = [seen.setdefault(ids[a:b].tobytes(), len(seen)) for a, b in zip([0, *ends], ends, strict=False)]
    first = np.unique(np.array(place, dtype=np.int64), return_index=True)[1]
    device = tokens.ids.device
    return torch.from_numpy(first).to(device), torch.tensor(place, dtype=torch.long, device=device)


def _rows(order: Int[Tensor, " n"], lengths: Int[Tensor, " all"], most: int) -> Sequence[Int[Tensor, " m"]]:
    """Cut into runs of about so many tokens."""
    run = lengths[order].cumsum(0).sub(1) // most
    return order.split(torch.unique_consecutive(run, return_counts=True)[1].tolist())


def _pool_row(states: Float[Tensor, "t h"], tokens: Tokens, how: Pooling) -> Float[Tensor, "m h"]:
    starts = tokens.starts()
    if how == "cls":
        return states[starts]
    if how == "lasttoken":
        return states[starts + tokens.lengths - 1]
    text = torch.arange(len(tokens), device=states.device).repeat_interleave(tokens.lengths)
    shape = (len(tokens), states.shape[1])
    if how == "max":
        return states.new_zeros(shape).scatter_reduce(
            0, text[:, None].expand_as(states), states, "amax", include_self=False
        )
    total = torch.zeros(shape, device=states.device).index_add(0, text, states.float())
    return total / tokens.lengths[:, None]


def _pool(states: Float[Tensor, "m t h"], mask: Bool[Tensor, "m t"], how: Pooling) -> Float[Tensor, "m h"]:
    if how == "cls":
        return states[:, 0]
    if how == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    if how == "max":
        return states.masked_fill(~mask[..., None], float("-inf")).amax(1)
    return (states.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
