"""The worlds: healthy training programs on real or made data, each in the manner of its field.

Every kind of world exists twice, on different data and with different choices. The first is for calibration, the second
was never looked at while limits were set.
"""

from __future__ import annotations

__all__ = ["CALIBRATION", "WORLDS", "world"]

from collections.abc import Callable
from functools import cache

from benchmarks.faults.parts import Parts
from benchmarks.faults.worlds import encoder, faq, towers, vectors

WORLDS: dict[str, Callable[[], Parts]] = {
    "faq/demo": faq.demo,
    "faq/hwu64": faq.hwu64,
    "encoder/demo": encoder.demo,
    "encoder/banking77": encoder.banking77,
    "towers/shop": towers.shop,
    "towers/feed": towers.feed,
    "vectors/digits": vectors.digits,
    "vectors/banking77": vectors.banking77,
}

CALIBRATION = frozenset({"faq/demo", "encoder/demo", "towers/shop", "vectors/digits"})


@cache
def world(name: str) -> Parts:
    """The healthy pieces of a world."""
    return WORLDS[name]()
