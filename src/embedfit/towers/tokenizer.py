"""Sub-words learned from the data: byte-pair encoding that serves English and Chinese alike.

No mark of a word's beginning is used: it would give every Chinese character two identities, and in English it would
hide that "prepaid" holds "paid". Words are bounded by white space, punctuation, digits and changes of script instead.
"""

from __future__ import annotations

__all__ = ["SPECIAL", "UNLIMITED", "count", "encode", "limit", "read_limit", "train"]

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embedfit.errors import ModelError
from embedfit.types import Tokens

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Ids 0 to 4 of every tokeniser trained here."""

_PHRASE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]{3,}")

UNLIMITED = 1_000_000_000
"""A length that no text has."""


def train(texts: Sequence[str], *, vocabulary: int, frame: bool = False) -> Tokenizer:
    """Learn sub-words by byte-pair encoding (Sennrich et al. 2016); equal texts give an equal tokeniser.

    Text is brought to NFKC and lower case first. At most half of the vocabulary is single characters, the frequent
    ones; a character beyond them is `[UNK]`. Where words are not written apart, a token has two characters at most.

    Args:
        texts: the training texts.
        vocabulary: number of tokens, at most; special tokens and single characters included.
        frame: wrap each text in `[CLS]` and `[SEP]`, as BERT does.

    Raises:
        ModelError: the texts hold no character, or the vocabulary is too small to hold one.
    """
    room = vocabulary // 2 - len(SPECIAL)
    if room < 1:
        raise ModelError(f"a vocabulary of {vocabulary} tokens is too small", hint="use 100 or more")
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(), pre_tokenizers.UnicodeScripts()]
    )
    alphabet = _alphabet((tokenizer.normalizer.normalize_str(text) for text in texts), room)
    if not alphabet:
        raise ModelError(
            f"got {len(texts)} texts without a single character to learn sub-words from",
            hint="look at the text columns: `embedfit audit DATA` shows them",
        )
    trainer = trainers.BpeTrainer(
        # Merges come in the order of their frequency, so the longer vocabulary is cut back to the shorter one below.
        vocab_size=2 * vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        # The trainer breaks ties between rare characters by hash order, so it is handed the alphabet ready-made.
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer = _without_phrases(tokenizer, vocabulary)
    if frame:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")]
        )
    return tokenizer


def limit(tokenizer: Tokenizer, max_tokens: int) -> None:
    """Cut every text to `max_tokens` (special tokens included) and pad none, whatever the tokeniser did before."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)


def read_limit(tokenizer: Tokenizer) -> int:
    """Where a tokeniser cuts texts; `UNLIMITED` when it does not."""
    return int(tokenizer.truncation["max_length"]) if tokenizer.truncation else UNLIMITED


def encode(tokenizer: Tokenizer, texts: Sequence[str], *, special: bool) -> Tokens:
    """Token ids of each text, cut as `limit` said.

    Args:
        tokenizer: trained here or read from a tokenizer.json.
        texts: any texts, the empty one included.
        special: whether the special tokens of its template are added.
    """
    rows = [encoding.ids for encoding in _encodings(tokenizer, texts, special)]
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    flat = np.fromiter((i for row in rows for i in row), dtype=np.int64, count=int(lengths.sum()))
    return Tokens(torch.from_numpy(flat), lengths)


def count(tokenizer: Tokenizer, texts: Sequence[str], *, special: bool) -> list[int]:
    """How many tokens each text has before it is cut."""
    added = tokenizer.num_special_tokens_to_add(is_pair=False) if special else 0
    encodings = _encodings(tokenizer, texts, special)
    return [len(first) + sum(len(rest) - added for rest in first.overflowing) for first in encodings]


def _encodings(tokenizer: Tokenizer, texts: Sequence[str], special: bool) -> list[Encoding]:
    return tokenizer.encode_batch_fast(list(texts), add_special_tokens=special)


def _without_phrases(tokenizer: Tokenizer, vocabulary: int) -> Tokenizer:
    """The tokeniser without tokens that are whole phrases of an unspaced script, cut to the vocabulary.

    A run of Chinese characters has no inner bounds, so merging goes on until frequent sentences are one token. Most
    Chinese words have two characters; longer tokens made retrieval worse the more of them there were.
    """
    state = json.loads(tokenizer.to_str())
    model = state["model"]
    names = sorted(model["vocab"], key=model["vocab"].__getitem__)
    kept = [name for name in names if not _PHRASE.fullmatch(name)][:vocabulary]
    known = set(kept)
    model["merges"] = [pair for pair in model["merges"] if known.issuperset((*pair, "".join(pair)))]
    model["vocab"] = {name: i for i, name in enumerate(kept)}
    return Tokenizer.from_str(json.dumps(state))


def _alphabet(texts: Iterable[str], room: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    characters = [c for c in counts if not c.isspace()]
    return sorted(characters, key=lambda c: (-counts[c], c))[:room]
