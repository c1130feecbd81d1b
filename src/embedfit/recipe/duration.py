"""Lengths of training as a recipe writes them: "3 epochs", "500 steps", "1e6 examples" or "5%"."""

from __future__ import annotations

__all__ = ["Duration", "DurationText", "SomeText", "WholeText"]

import re
from typing import Annotated

from pydantic import AfterValidator

_DURATION = re.compile(r"^\s*((?:\d+\.?\d*|\.\d+)(?:e\d+)?)\s*(epochs?|steps?|examples?|%)\s*$", re.ASCII)


class Duration:
    """A length of training: "3 epochs", "500 steps", "1e6 examples" or "5%" (of the whole run).

    Parsed at the edge; inside, time is steps.
    """

    @staticmethod
    def check(text: str) -> str:
        """Return the text unchanged, or raise ValueError when it is no duration."""
        if not _DURATION.match(text):
            raise ValueError(
                f"expected a duration such as '3 epochs', '500 steps', '1e6 examples' or '5%', got '{text}'"
            )
        return text

    @staticmethod
    def check_part(text: str) -> str:
        """The same for a part of the run: no share above all of it."""
        amount, unit = Duration.parts(Duration.check(text))
        if unit == "%" and amount > 100:
            raise ValueError(f"expected at most 100% of the run, got '{text}'")
        return text

    @staticmethod
    def check_some(text: str) -> str:
        """The same, but longer than nothing."""
        match = _DURATION.match(Duration.check(text))
        if match is None or not 0 < float(match[1]) < 1e15:
            raise ValueError(f"expected a duration longer than nothing, got '{text}'")
        return text

    @staticmethod
    def check_whole(text: str) -> str:
        """The same for the length of the whole run, which cannot be a share of itself."""
        if Duration.check_some(text).rstrip().endswith("%"):
            raise ValueError(f"expected a duration such as '3 epochs' or '500 steps', got the share '{text}'")
        return text

    @staticmethod
    def parts(text: str) -> tuple[float, str]:
        """The amount, and its unit: step, epoch, example or %."""
        match = _DURATION.match(text)
        assert match is not None, "durations are checked when the recipe is built"
        return float(match[1]), match[2].rstrip("s")

    @staticmethod
    def steps(text: str, *, steps_per_epoch: int, batch_size: int, total: int | None = None) -> int:
        """How many optimiser steps a duration is."""
        amount, unit = Duration.parts(text)
        if unit == "%":
            assert total is not None, "a share needs a whole"
            return round(amount / 100 * total)
        per_unit = {"step": 1.0, "epoch": float(steps_per_epoch), "example": 1 / batch_size}[unit]
        return max(1, round(amount * per_unit))


DurationText = Annotated[str, AfterValidator(Duration.check_part)]
SomeText = Annotated[str, AfterValidator(Duration.check_some)]
WholeText = Annotated[str, AfterValidator(Duration.check_whole)]
