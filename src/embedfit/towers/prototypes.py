"""`Prototypes`: one trained embedding per class, the document tower of classification."""

from __future__ import annotations

__all__ = ["Prototypes"]

from collections.abc import Sequence
from difflib import get_close_matches

import torch
from jaxtyping import Float
from torch import Tensor, nn

from embedfit.errors import ModelError
from embedfit.towers.base import Tower
from embedfit.types import Tokens


class Prototypes(Tower):
    """An embedding table with one row per class label.

    Args:
        labels: names of the classes, all different.
        table: their embeddings, in the same order; becomes a trained parameter.
        parts: of the embeddings they are compared with; each part is scaled to length 1 / sqrt(parts).

    Attributes:
        sparse: the gradient has only the rows of a step, for steps that meet a part of very many classes.

    Raises:
        ModelError: a label is named twice, or labels and rows are not equally many.
    """

    max_tokens = 1
    sparse: bool = False
    micro = 1 << 16  # looked up, not computed: a call costs more than its rows

    def __init__(self, labels: Sequence[str], table: Float[Tensor, "c e"], *, parts: int = 1) -> None:
        super().__init__()
        if len(labels) != len(table):
            raise ModelError(
                f"got {len(labels)} labels and {len(table)} prototypes; expected as many of one as of the other",
                hint="one row of the table for each label, in the same order",
            )
        self.labels = tuple(labels)
        self._number = {label: i for i, label in enumerate(self.labels)}
        if len(self._number) < len(self.labels):
            twice = next(label for i, label in enumerate(self.labels) if self._number[label] != i)
            raise ModelError(f"label '{twice}' is named twice", hint="one prototype per class")
        self.dimension = table.shape[1]
        self.parts = parts
        self.table = nn.Parameter(table.detach().clone().float())

    @classmethod
    def from_means(cls, labels: Sequence[str], means: Float[Tensor, "c e"], *, parts: int = 1) -> Prototypes:
        """Prototypes that start at the direction of the class means of some embeddings.

        Means of unit vectors are shorter for scattered classes; similarity ignores that, yet the same step would turn
        a short row much further than a long one. So all parts of all rows start at length 1.
        """
        return cls(labels, _unit_parts(means.detach().float(), parts), parts=parts)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The number of each label.

        Raises:
            ModelError: a label has no prototype.
        """
        try:
            ids = [self._number[text] for text in texts]
        except KeyError as error:
            label = error.args[0]
            near = get_close_matches(label, self.labels, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "prototypes know only the classes they were trained on"
            raise ModelError(
                f"there is no prototype for the label '{label}' among {len(self.labels)}", hint=hint
            ) from None
        return Tokens(torch.tensor(ids, dtype=torch.long), torch.ones(len(ids), dtype=torch.long))

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """One each."""
        return [1] * len(texts)

    def forward(self, tokens: Tokens) -> Float[Tensor, "n e"]:
        """The prototypes of the labels."""
        rows = nn.functional.embedding(tokens.ids, self.table, sparse=self.sparse)
        return rows if self.parts == 1 else _unit_parts(rows, self.parts) / self.parts**0.5


def _unit_parts(rows: Float[Tensor, "n e"], parts: int) -> Float[Tensor, "n e"]:
    return nn.functional.normalize(rows.unflatten(1, (parts, -1)), dim=-1).flatten(1)
