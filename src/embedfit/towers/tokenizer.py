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
from itertools import chain

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embedfit.errors import ModelError
from embedfit.types import Tokens

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Ids 0 to 4 of every tokeniser trained here."""

_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+")
_LONGEST = 2
"""Characters of a token where words are not written apart. A run of Chinese characters has no inner bounds, so merging
would go on until frequent sentences are one token; most words have two characters."""

_AT_ONCE = 20_000
"""Texts tokenised together, by as many threads as there are; an encoding takes far more memory than its ids."""

_ENDLESS = re.compile(r"([^\s!-/:-@\[-`{-~\u2010-\u2027\u3000-\u303f]{1000})(?=\S)")
"""A thousand characters without a bound. The time to learn merges grows with the square of such a run."""
_CHARACTERS = 65_536
"""At least so many characters of a text are read, far more than become tokens that are kept."""

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
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    plain = [_ENDLESS.sub(r"\1 ", normalizer.normalize_str(text[:_CHARACTERS])) for text in texts]
    alphabet = _alphabet(plain, room)
    if not alphabet:
        raise ModelError(
            f"got {len(texts)} texts without a single character to learn sub-words from",
            hint="look at the text columns: `embedfit audit DATA` shows them",
        )
    merges = _merges(plain, alphabet, vocabulary - len(SPECIAL) - len(alphabet))
    names = [*SPECIAL, *alphabet, *dict.fromkeys("".join(pair) for pair in merges)]
    vocabulary_ids = {name: i for i, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary_ids, merges=merges, unk_token="[UNK]", fuse_unk=True))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = _words()
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
    end = max(_CHARACTERS, 16 * read_limit(tokenizer))
    texts = [text[:end] for text in texts]
    lengths, ids = np.empty(len(texts), dtype=np.int64), [np.empty(0, dtype=np.int64)]
    for start in range(0, len(texts), _AT_ONCE):
        rows = [encoding.ids for encoding in _encodings(tokenizer, texts[start : start + _AT_ONCE], special)]
        lengths[start : start + len(rows)] = [len(row) for row in rows]
        ids.append(np.fromiter(chain.from_iterable(rows), dtype=np.int64))
    return Tokens(torch.from_numpy(np.concatenate(ids)), torch.from_numpy(lengths))


def count(tokenizer: Tokenizer, texts: Sequence[str], *, special: bool) -> list[int]:
    """How many tokens each text has before it is cut."""
    added = tokenizer.num_special_tokens_to_add(is_pair=False) if special else 0
    encodings = _encodings(tokenizer, texts, special)
    return [len(first) + sum(len(rest) - added for rest in first.overflowing) for first in encodings]


def _encodings(tokenizer: Tokenizer, texts: Sequence[str], special: bool) -> list[Encoding]:
    return tokenizer.encode_batch_fast(list(texts), add_special_tokens=special)


def _words() -> pre_tokenizers.PreTokenizer:
    """Bounds that no token crosses."""
    return pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(), pre_tokenizers.UnicodeScripts()]
    )


def _merges(texts: Sequence[str], alphabet: Sequence[str], number: int) -> list[tuple[str, str]]:
    """The merges of spaced and of unspaced scripts, as many of each as their share of the text."""
    unspaced = [" ".join(_UNSPACED.findall(text)) for text in texts]
    spaced = [_UNSPACED.sub(" ", text) for text in texts]
    letters = [sum(len(text) - text.count(" ") for text in part) for part in (unspaced, spaced)]
    of_unspaced = _learn(unspaced, alphabet, number, longest=_LONGEST) if letters[0] else []
    of_spaced = _learn(spaced, alphabet, number) if letters[1] else []
    share = round(number * letters[0] / max(1, sum(letters)))
    taken = min(len(of_unspaced), max(share, number - len(of_spaced)))
    return [*of_unspaced[:taken], *of_spaced[: number - taken]]


def _learn(
    texts: Sequence[str], alphabet: Sequence[str], number: int, *, longest: int | None = None
) -> list[tuple[str, str]]:
    """The most frequent merges, in their order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _words()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + number,
        min_frequency=2,
        # The trainer breaks ties between rare characters by hash order, so it is handed the alphabet ready-made.
        initial_alphabet=list(alphabet),
        limit_alphabet=len(alphabet),
        max_token_length=longest,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]


def _alphabet(texts: Iterable[str], room: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    characters = [c for c in counts if not c.isspace()]
    return sorted(characters, key=lambda c: (-counts[c], c))[:room]
