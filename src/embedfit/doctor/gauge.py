"""The held-out metric of experiments: the author's own, and the rank of a held-back row's own document."""

from __future__ import annotations

__all__ = ["Gauge", "chance", "embedded", "reciprocal_ranks"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from embedfit.doctor.frozen import Memory
from embedfit.doctor.material import Material, stepped
from embedfit.doctor.program import Evaluates, Program
from embedfit.probes.embedding import rank_share
from embedfit.probes.rows import Table
from embedfit.probes.state import same_random_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Measures a program.

    Attributes:
        material: its rows.
        has_metric: whether the author's own metric is the one that counts.
        memory: of frozen modules, for all programs that it measures.
    """

    material: Material
    has_metric: bool
    memory: Memory = field(default_factory=Memory)

    def of(self, program: Program) -> float:
        """The metric that counts."""
        if self.has_metric and isinstance(program, Evaluates):
            modes = [module.training for module in program.model.modules()]
            with same_random_numbers(0), torch.no_grad():
                value = float(program.evaluate())
            for module, mode in zip(program.model.modules(), modes, strict=True):
                module.training = mode
            return value
        return self.probe(program)

    def noise(self, program: Program) -> float:
        """Share of the rows held back that belong to no relation: four times those in the worst quarter of the ranks.

        Ranks of rows that the model knows nothing of are spread evenly; those of the others gather at the top. NaN
        where the model does not find the better third of the rows.
        """
        if self.material.probe is None:
            return float("nan")
        query, document = embedded(program, self.material.probe, self.material.size)
        ranks = reciprocal_ranks(query, document).reciprocal()
        n = len(ranks)
        if ranks.quantile(0.3) > max(2.0, 0.02 * n):
            return float("nan")
        return float((ranks > 0.75 * n).float().mean()) * 4

    def ignored(self, program: Program) -> tuple[str, ...]:
        """Sides whose own parameters the author's metric does not depend on: shuffled, they leave it as it was."""
        if not self.has_metric:
            return ()
        out = stepped(program, self.material.batches[0], gradient=True)
        reached = {side: _reached(program, out[side]) for side in ("query", "document")}
        before = self.of(program)
        found = []
        for side, other in (("query", "document"), ("document", "query")):
            own = [p for p in reached[side] if all(p is not q for q in reached[other])]
            if own and self._shuffled(program, own) == before:
                found.append(side)
        return tuple(found)

    @torch.no_grad()
    def _shuffled(self, program: Program, parameters: Sequence[Tensor]) -> float:
        """The metric while the entries of these parameters are in another order."""
        kept = [p.detach().clone() for p in parameters]
        generator = torch.Generator().manual_seed(0)
        try:
            for p in parameters:
                p.copy_(p.flatten()[torch.randperm(p.numel(), generator=generator).to(p.device)].view_as(p))
            return self.of(program)
        finally:
            for p, old in zip(parameters, kept, strict=True):
                p.copy_(old)

    def probe(self, program: Program) -> float:
        """Mean reciprocal rank on the rows held back; NaN where none could be."""
        return self.probe_and_rank(program)[0]

    def probe_and_rank(self, program: Program) -> tuple[float, float]:
        """The same, and the effective rank of those embeddings, the lower of both sides."""
        if self.material.probe is None:
            return float("nan"), float("nan")
        query, document = embedded(program, self.material.probe, self.material.size)
        rank = min(rank_share(side.nan_to_num()) for side in (query, document))
        return float(reciprocal_ranks(query, document).mean()), rank


def _reached(program: Program, embeddings: Tensor) -> list[Tensor]:
    """Parameters that embeddings depend on."""
    named = [p for p in program.model.parameters() if p.requires_grad]
    if not embeddings.requires_grad or not named:
        return []
    noise = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0)).to(embeddings)
    slopes = torch.autograd.grad((embeddings * noise).sum(), named, retain_graph=True, allow_unused=True)
    return [p for p, slope in zip(named, slopes, strict=True) if slope is not None]


def embedded(program: Program, rows: Table, size: int) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e"]]:
    """Embeddings of the queries and of their own documents, a batch at a time, in evaluation mode."""
    queries, documents = [], []
    for start in range(0, rows.rows, size):
        index = list(range(start, min(start + size, rows.rows)))
        if len(index) < 2:  # some losses cannot be computed of a single row
            index = [start - 1, start]
        out = stepped(program, rows.take(index).batch())
        wanted = len(range(start, min(start + size, rows.rows)))
        queries.append(out["query"].detach().float()[-wanted:])
        documents.append(out["document"].detach().float()[: len(index)][-wanted:])
    return torch.cat(queries), torch.cat(documents)


def reciprocal_ranks(query: Float[Tensor, "n e"], document: Float[Tensor, "n e"]) -> Float[Tensor, " n"]:
    """1 / rank of each query's own document by cosine; ties are broken by chance, or collapse would look perfect."""
    if query.shape[1] != document.shape[1]:
        return torch.full((len(query),), chance(len(query)))
    scores = (normalize(query, dim=-1) @ normalize(document, dim=-1).T).nan_to_num(-1.0)
    jitter = torch.rand(scores.shape, generator=torch.Generator().manual_seed(0)) * 1e-6
    scores = scores.cpu() + jitter
    return 1.0 / (scores >= scores.diagonal()[:, None]).sum(1).float()


def chance(n: int) -> float:
    """Mean reciprocal rank of a random order of n documents."""
    return sum(1 / k for k in range(1, n + 1)) / n
