"""What bringing negatives cost a run, in words."""

from __future__ import annotations

__all__ = ["negatives_line"]

from embedfit.run import Run


def negatives_line(run: Run) -> str:
    """What bringing negatives cost, and whether any were found; empty where nothing was brought."""
    facts, kind = run.facts, run.recipe.negatives.kind
    if kind == "in_batch" or "negatives.seconds" not in facts:
        return ""
    parts = []
    if "negatives.searches" in facts:
        searches = facts["negatives.searches"]
        parts.append(f"{searches:,} {'search' if searches == 1 else 'searches'} in {facts['negatives.seconds']:.3g} s")
    if "negatives.megabytes" in facts:
        parts.append(f"{facts['negatives.megabytes']:.3g} MB")
    kept = facts.get("negatives.kept")
    if kept == 0:
        parts.append("the last search left none: lower negatives.skip, or loosen negatives.sieve and negatives.amount")
    elif kept is not None:
        parts.append(f"{kept:.3g} of the documents looked at left by the last search")
    return f"Negatives {kind}: {', '.join(parts) or 'drawn at no cost but embedding them'}."
