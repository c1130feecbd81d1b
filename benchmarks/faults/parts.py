"""A training program in pieces, as a stranger would have written them, and the program they make.

A world is one healthy set of pieces; a fault is a function from pieces to pieces that spoils one of them. What is
handed to a doctor is only `build(seed) -> Script`, which has nothing but the attributes and methods of
`embedfit.doctor.program.Program` to speak of.
"""

from __future__ import annotations

__all__ = ["Data", "Parts", "Picked", "Script", "builder", "reciprocal_rank"]

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """Training pairs and held-out questions, as numbers: token ids (0 pads), ids of things, or vectors.

    Attributes:
        queries: [n, ...].
        documents: [m, ...].
        pair: [n], the row of `documents` that belongs to each query.
        group: [n], class, topic or neighbourhood of each query: what a file might be sorted by.
        held_queries: [h, ...].
        held_documents: [k, ...], the candidates of the held-out queries.
        held_pair: [h], the right candidate.
    """

    queries: Tensor
    documents: Tensor
    pair: Tensor
    group: Tensor
    held_queries: Tensor
    held_documents: Tensor
    held_pair: Tensor


class Picked(NamedTuple):
    """The rows of one batch; documents beyond the number of queries are negatives."""

    query: Tensor
    document: Tensor
    document_id: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The pieces of a training program.

    Attributes:
        world: name.
        traits: what faults ask for, such as "text", "ids", "vectors", "pretrained", "teacher".
        data: rows.
        read: the input pipeline, for training and held-out rows alike.
        order: (data, batch size, generator) -> the rows of each batch of one epoch.
        pick: (data, rows, generator) -> the batch.
        pack: the batch in the form this author likes.
        unpack: back.
        network: makes the model.
        query: (model, input) -> embeddings.
        document: (model, input) -> embeddings.
        loss: (query, document, batch, model) -> number.
        optimizer: made from the model.
        schedule: (step, steps) -> factor of the learning rate.
        clip: largest norm of the gradient.
        mend: called between backward and clipping.
        zero_every: steps between two calls of zero_grad.
        step_every: steps between two steps of the optimiser.
        training: puts the model into the mode for training.
        evaluating: puts it into the mode for evaluation.
        similarity: (query, document) -> scores of the evaluation.
        metric: (scores, right) -> number, higher is better.
        index: (script, documents) -> embeddings of the candidates.
        steps: planned.
        batch_size: queries per batch.
    """

    world: str
    traits: frozenset[str]
    data: Data
    network: Callable[[], nn.Module]
    query: Callable[[Any, Tensor], Tensor]
    document: Callable[[Any, Tensor], Tensor]
    loss: Callable[[Tensor, Tensor, Picked, Any], Tensor]
    optimizer: Callable[[Any], Optimizer]
    steps: int
    batch_size: int
    read: Callable[[Tensor], Tensor] = field(default=lambda x: x)
    order: Callable[[Data, int, torch.Generator], Tensor] = field(default=lambda d, b, g: shuffled(d, b, g))
    pick: Callable[[Data, Tensor, torch.Generator], Picked] = field(default=lambda d, rows, g: picked(d, rows))
    pack: Callable[[Picked], Any] = field(default=tuple)
    unpack: Callable[[Any], Picked] = field(default=lambda batch: Picked(*batch))
    schedule: Callable[[int, int], float] = field(default=lambda step, steps: 1.0)
    clip: float | None = None
    mend: Callable[[Any, int], None] = field(default=lambda model, step: None)
    zero_every: int = 1
    step_every: int = 1
    training: Callable[[nn.Module], Any] = field(default=lambda model: model.train())
    evaluating: Callable[[nn.Module], Any] = field(default=lambda model: model.eval())
    similarity: Callable[[Tensor, Tensor], Tensor] = field(default=lambda q, d: cosine(q, d))
    metric: Callable[[Tensor, Tensor], float] = field(default=lambda scores, right: reciprocal_rank(scores, right))
    index: Callable[[Script, Tensor], Tensor] = field(default=lambda script, documents: script.embed(documents))


def shuffled(data: Data, size: int, generator: torch.Generator) -> Tensor:
    """Rows of every batch of an epoch, [batches, size], the last short batch left out."""
    order = torch.randperm(len(data.queries), generator=generator)
    return order[: len(order) // size * size].view(-1, size)


def picked(data: Data, rows: Tensor) -> Picked:
    """Queries and their documents."""
    return Picked(data.queries[rows], data.documents[data.pair[rows]], data.pair[rows])


def cosine(query: Tensor, document: Tensor) -> Tensor:
    """Every query against every document."""
    return nn.functional.normalize(query, dim=-1) @ nn.functional.normalize(document, dim=-1).T


def _ranks(scores: Tensor, right: Tensor) -> Tensor:
    """Rank of the right candidate, 1 is best; ties count against it, and so does what is not a number."""
    scores = torch.nan_to_num(scores, nan=-torch.inf)
    own = scores.gather(1, right[:, None])
    return (scores >= own).sum(1).float()


def reciprocal_rank(scores: Tensor, right: Tensor) -> float:
    """Mean reciprocal rank."""
    return float((1 / _ranks(scores, right)).mean())


def recall_at_10(scores: Tensor, right: Tensor) -> float:
    """Share of queries with the right candidate among the first ten."""
    return float((_ranks(scores, right) <= 10).float().mean())


class Epochs:
    """What the loop iterates over: each time a new epoch."""

    def __init__(self, parts: Parts, seed: int) -> None:
        self._parts, self._data = parts, parts.data
        self._generator = torch.Generator().manual_seed(seed + 1)

    def __len__(self) -> int:
        return len(self._data.queries) // self._parts.batch_size

    def __iter__(self) -> Iterator[Any]:
        parts = self._parts
        for rows in parts.order(self._data, parts.batch_size, self._generator):
            batch = parts.pick(self._data, rows, self._generator)
            batch = batch._replace(query=parts.read(batch.query), document=parts.read(batch.document))
            yield parts.pack(batch)


class Script:
    """The training program: what a doctor gets to see of it is the protocol."""

    def __init__(self, parts: Parts, seed: int) -> None:
        torch.manual_seed(seed)
        self._parts = parts
        self.model = parts.network()
        self.optimizer = parts.optimizer(self.model)
        self.batches = Epochs(parts, seed)
        self.steps = parts.steps
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._step = 0
        self._schedule()

    def train_step(self, batch: Any) -> Mapping[str, Tensor]:
        parts = self._parts
        parts.training(self.model)
        rows = parts.unpack(batch)
        query, document = parts.query(self.model, rows.query), parts.document(self.model, rows.document)
        return {"query": query, "document": document, "loss": parts.loss(query, document, rows, self.model)}

    def update(self, loss: Tensor) -> None:
        parts = self._parts
        if self._step % parts.zero_every == 0:
            self.optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()
        parts.mend(self.model, self._step)
        if parts.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), parts.clip)
        self._step += 1
        if self._step % parts.step_every == 0:
            self.optimizer.step()
        self._schedule()

    def evaluate(self) -> float:
        parts, data = self._parts, self._parts.data
        was = {name: module.training for name, module in self.model.named_modules()}
        parts.evaluating(self.model)
        with torch.no_grad():
            documents = parts.index(self, data.held_documents)
            queries = torch.cat([parts.query(self.model, parts.read(x)) for x in data.held_queries.split(256)])
            score = parts.metric(parts.similarity(queries, documents), data.held_pair)
        for name, module in self.model.named_modules():
            module.training = was[name]
        return score

    def embed(self, documents: Tensor) -> Tensor:
        """Embeddings of documents by the model as it is."""
        parts = self._parts
        return torch.cat([parts.document(self.model, parts.read(x)) for x in documents.split(256)])

    def _schedule(self) -> None:
        factor = self._parts.schedule(self._step, self.steps)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor


def builder(parts: Parts) -> Callable[..., Script]:
    """`build(seed=0)` of these pieces."""

    def build(seed: int = 0) -> Script:
        return Script(parts, seed)

    return build
