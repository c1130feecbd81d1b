"""`Encoder`: a Hugging Face model, pooled. Texts run in chunks of similar length, so that padding is nearly nil."""

from __future__ import annotations

__all__ = ["Encoder", "Kept", "Pooling"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from tokenizers import Tokenizer
from torch import Tensor, nn

from embedfit.towers import tokenizer as subwords
from embedfit.towers.base import Tower
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

    chunk: int = 32
    """Texts that share one rectangle of token ids. Fewer means less padding and more calls."""

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
        order = tokens.lengths.argsort(stable=True)
        # A text without any token (a tokeniser without special tokens, an empty text) has nothing to attend to.
        order = order[int((tokens.lengths == 0).sum()) :]
        out = torch.zeros(len(tokens), self.dimension, device=tokens.ids.device)
        if not len(order):
            return out
        done = torch.cat([self._pooled(tokens.select(rows)) for rows in order.split(self.chunk)])
        return out.index_copy(0, order, self.head(done).float())

    def _with_prompt(self, texts: Sequence[str]) -> Sequence[str]:
        return [self.prompt + text for text in texts] if self.prompt else texts

    def _pooled(self, tokens: Tokens) -> Float[Tensor, "m h"]:
        # Filled up on the right, default positions (0, 1, 2, ...) are right for every text; the id does not matter
        # where the mask is zero, except to models that count positions from it, so it is the model's own.
        mask = tokens.mask()
        states = self.model(input_ids=tokens.padded(self._padding), attention_mask=mask.long(), return_dict=True)[0]
        return torch.cat([_pool(states, mask, how) for how in self.pooling], dim=1)


def _pool(states: Float[Tensor, "m t h"], mask: Bool[Tensor, "m t"], how: Pooling) -> Float[Tensor, "m h"]:
    if how == "cls":
        return states[:, 0]
    if how == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    if how == "max":
        return states.masked_fill(~mask[..., None], float("-inf")).amax(1)
    return (states.float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
