"""What the findings about spaces and teachers mean, why they hurt, and what to do."""

from __future__ import annotations

__all__ = ["VOCABULARY", "Meaning"]

from collections.abc import Mapping
from dataclasses import dataclass

from embedfit.align import findings, ratings, teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The page of a finding.

    Attributes:
        what: was measured, with its limit.
        why: it hurts.
        do: what to do about it.
    """

    what: str
    why: str
    do: str

    def page(self, name: str) -> str:
        """The three as Markdown."""
        return f"# {name}\n\n{self.what}\n\n## Why it hurts\n\n{self.why}\n\n## What to do\n\n{self.do}\n"


VOCABULARY: Mapping[str, Meaning] = {
    "no_mapping": Meaning(
        what=f"No map finds held-out targets better than chance ({findings.SURE:g} standard errors), and distance "
        f"correlation sees nothing either (p > {findings.UNLIKELY:g}).",
        why="There is nothing to learn: every objective and every learning rate ends at the mean of the targets.",
        do="Look whether row i of both files belongs to the same item; match them by an id.",
    ),
    "no_map_found": Meaning(
        what="The spaces depend on each other by distance correlation, and yet no map that was learned holds for new "
        "items.",
        why="What the spaces share is too intricate for so few pairs, or is no matter of single items.",
        do="Bring more pairs, or encode again.",
    ),
    "weak_mapping": Meaning(
        what=f"The right target is among the first ten for less than {findings.USEFUL:.0%} of the items (below "
        f"{findings.USELESS:.0%}, and with less than {findings.EXPLAINED:.0%} of the variance explained, it counts as "
        "none).",
        why="The target holds what the source does not; searched, a migrated index misses most of what it should find.",
        do="Encode again; or keep the old index until that is done.",
    ),
    "mismatched_rows": Meaning(
        what="Rows whose own target is farther from the prediction than half of all targets, more than chance brings.",
        why="An objective that squares follows them, and every figure is measured against wrong answers.",
        do="Look at the rows listed, beside the target each seems to belong to; the distance instead of its square is "
        "taken as the objective meanwhile.",
    ),
    "outliers_source": Meaning(
        what=f"Rows of the source lie more than {findings.FAR:g} times as far out as the median.",
        why="They pull on a map of least squares more than all others together may.",
        do="Look at the rows listed: empty texts, another model, a broken export?",
    ),
    "outliers_target": Meaning(
        what=f"Rows of the target lie more than {findings.FAR:g} times as far out as the median.",
        why="Under `mse` one target ten times as far out counts as much as a hundred others.",
        do="Mend them, or take `euclidean`, `mae` or `huber`; `auto` takes `euclidean`.",
    ),
    "norm_mismatch": Meaning(
        what="Lengths of source and target differ more than twofold, or those of the target vary by more than 5 %.",
        why="The cosine alone does not learn lengths, and inner products on mapped rows rank otherwise.",
        do="Where lengths mean something take `euclidean` or `cosine+euclidean`; where not, bring both to unit length.",
    ),
    "unreachable_target": Meaning(
        what="The target varies in more directions than the source has, and these hold more than 5 % of its variance.",
        why="A linear map cannot leave the directions of the source: the loss stays above zero however long it trains.",
        do="Aim at fewer dimensions (the strongest of the target), or at similarities (`similarity`, `distribution`).",
    ),
    "few_pairs": Meaning(
        what="Fewer than five pairs for each dimension of the source.",
        why="A linear map has a number for each pair of dimensions; fewer pairs leave it to the penalty.",
        do="Embed more items with both models; the learning curve says when there are enough.",
    ),
    "repeated_source": Meaning(
        what="Rows of the source repeat another row exactly.",
        why="No map tells them apart; they are held out together, so that no figure is too good for them.",
        do="Nothing, where the same item comes twice; otherwise look at the export.",
    ),
    "repeated_target": Meaning(
        what="Rows of the target repeat another row exactly.",
        why="Equal targets count as one candidate.",
        do="Nothing, where the same item comes twice; otherwise look at the export.",
    ),
    "unreliable_teacher": Meaning(
        what="Vectors or scores have nothing to do with the words of their texts (by permutation for vectors, within "
        f"{ratings.SURE:g} standard errors of 0 for scores), or TF-IDF is right more often where answers are known.",
        why="A student learns the errors of its teacher, and shuffled rows teach nothing.",
        do="Look whether texts and rows belong together; else take another teacher, or learn from the labels.",
    ),
    "noisy_teacher": Meaning(
        what=f"The same text gets different vectors (cosine below {teacher.STEADY:g}), or the scores of the same pair "
        f"vary by more than {ratings.NOISE:.0%} of what scores of a query vary by.",
        why="No student can learn the noise; more texts of the same kind average it out, a larger student does not.",
        do="Switch the teacher to evaluation mode, fix its prompt and precision, or average several of its answers.",
    ),
}
"""Findings by name."""
