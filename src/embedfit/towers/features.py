"""Surface features of a text: words, pairs of neighbouring words, and letter n-grams (DSSM, Huang et al. 2013).

Scripts that write words apart give words `<card>`, word pairs `my card` and letter n-grams within each word, its ends
marked (`<ca`, `car`, `ard`, `rd>`). Scripts that do not (Chinese, Japanese, Thai, ...) give the characters and their
n-grams within each unbroken run. Symbols such as emoji count as words; punctuation is no feature.
"""

from __future__ import annotations

__all__ = ["Features", "family"]

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Han
)
_SYMBOL = "\u2190-\u2bff\U0001f000-\U0001faff"
_RUNS = re.compile(f"([{_UNSPACED}]+)|(?:(?![{_UNSPACED}])[^\\W_])+|[{_SYMBOL}]")

Family = Literal["word", "pair", "letters", "unspaced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Which features are taken.

    Attributes:
        shortest: letters of the shortest n-gram within a word, its end marks included.
        longest: letters of the longest one.
        pairs: whether neighbouring words make a feature.
        unspaced: characters of the longest n-gram in scripts without spaces.
    """

    shortest: int = 3
    longest: int = 5
    pairs: bool = True
    unspaced: int = 3

    def of_word(self, word: str) -> list[str]:
        """The word and the letter n-grams within it."""
        marked = f"<{word}>"
        end = len(marked)
        sizes = range(self.shortest, min(self.longest, end - 1) + 1)
        return [marked, *(marked[i : i + n] for n in sizes for i in range(end - n + 1))]

    def of_run(self, run: str) -> list[str]:
        """The n-grams of an unbroken run of a script without spaces."""
        end = len(run)
        return [run[i : i + n] for i in range(end) for n in range(1, min(self.unspaced, end - i) + 1)]

    def numbers(
        self, text: str, word: Callable[[str], list[int]], other: Callable[[list[str]], list[int]]
    ) -> Iterator[list[int]]:
        """The features of a text in reading order, numbered by the caller, who may remember words he has met.

        Args:
            text: any text.
            word: numbers of the features of a word.
            other: numbers of other features (word pairs, n-grams of unspaced runs).
        """
        before = ""
        for match in _RUNS.finditer(unicodedata.normalize("NFKC", text).lower()):
            piece = match[0]
            if match[1]:
                before = ""
                yield other(self.of_run(piece))
                continue
            yield word(piece)
            if self.pairs and before:
                yield other([f"{before} {piece}"])
            before = piece


def family(feature: str) -> Family:
    """Which kind of feature a string is."""
    if " " in feature:
        return "pair"
    if feature[0] == "<" and feature[-1] == ">" and len(feature) > 2:
        return "word"
    return "unspaced" if re.match(f"[{_UNSPACED}]", feature) else "letters"
