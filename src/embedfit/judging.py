"""How a model is judged: which texts its documents are found by, what it is compared with, what it answers from."""

from __future__ import annotations

__all__ = [
    "Rows",
    "assist",
    "encoders",
    "helped",
    "judge",
    "keys_of",
    "lighter",
    "quick_keys",
    "readings",
    "standard_error",
    "together",
    "yardsticks",
]

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float

from embedfit.data.shards import Shards
from embedfit.evaluate import Evaluation, evaluate, evaluate_bare, main_metric
from embedfit.evaluate import catalogue as catalogues
from embedfit.evaluate import lexical as lexicals
from embedfit.evaluate.baselines import graded_baseline, lexical_scorer
from embedfit.evaluate.embedding import Encode
from embedfit.evaluate.faq import How
from embedfit.evaluate.retrieval import rank_task
from embedfit.evaluate.scope import refusal_of
from embedfit.evaluate.tasks import Keys, Task, task_of, worded
from embedfit.metrics import chance, measure, spearman
from embedfit.pairs import Pairs
from embedfit.team import ALONE, Team
from embedfit.towers import Prototypes, Role, TwoTower

LIGHT_CORPUS = 5_000
"""Documents of a collection that the evaluations during training look at; the final one looks at all."""
LIGHT_PHRASINGS = 3_000
"""Known queries, at most, that the evaluations during training embed anew."""


CHOSEN_HERE = "The best step of the run was chosen on these rows: expect a little less on new ones."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a run is trained and judged on.

    Attributes:
        train: the training rows.
        dev: held-out rows; None where nothing could be held out.
        out_of_scope: texts without an answer, to choose the threshold with and to see how many of them are refused.
        note: why nothing is held out.
        shards: what the training rows are a sample of, where they are read in parts.
    """

    train: Pairs
    dev: Pairs | None
    out_of_scope: tuple[str, ...] = ()
    note: str = ""
    shards: Shards | None = None


def encoders(model: TwoTower, team: Team = ALONE) -> tuple[Encode, Encode]:
    """The two functions from texts to unit rows that evaluation asks for.

    They remember what they have embedded: evaluation, threshold and catalogue ask for the same texts, and embedding
    them is nearly all of their time.

    Args:
        model: the towers.
        team: processes that hold the same towers; all but this first one are in `assist`.
    """
    kept: dict[tuple[Role, str], Float[np.ndarray, " e"]] = {}

    def encode(texts: Sequence[str], role: Role) -> Float[np.ndarray, "n e"]:
        fresh = [text for text in dict.fromkeys(texts) if (role, text) not in kept]
        if fresh:
            kept.update(zip(((role, text) for text in fresh), together(model, fresh, role, team), strict=True))
        return np.stack([kept[role, text] for text in texts]) if texts else np.empty((0, model.dimension), np.float32)

    return (
        lambda texts: encode(texts, "query"),
        lambda texts: encode(texts, "query" if model.shared else "document"),
    )


def together(model: TwoTower, texts: list[str], role: Role, team: Team) -> Float[np.ndarray, "n e"]:
    """Embeddings of texts, of which every process of a team works a share out; called by the first process."""
    team.tell((texts, role))
    return model.encode(texts, role=role, team=team)


@contextmanager
def helped(model: TwoTower, team: Team) -> Iterator[tuple[Encode, Encode]]:
    """`encoders` that the other processes of a team help with until the end of the block."""
    yield encoders(model, team)
    team.tell(None)


def assist(model: TwoTower, team: Team) -> None:
    """Embed a share of whatever the first process asks for, until it asks for no more, or is no more."""
    while True:
        try:
            asked = team.tell(None)
        except RuntimeError:  # the first process has ended, and has said why
            return
        if asked is None:
            return
        texts, role = asked
        model.encode(texts, role=role, team=team)


def keys_of(model: TwoTower, known: Pairs | None) -> tuple[Keys | None, How]:
    """How the documents of a model are found, and how several keys of one become a score.

    Classes by their prototypes, if the model has any, and by their known texts; standard questions by all their known
    phrasings; other documents by their own text.
    """
    if known is not None and known.kind == "graded":
        return None, "blend"
    if isinstance(model.document, Prototypes):
        return ("documents", "blend") if known is None else ("prototypes", "anchored")
    phrased = known is not None and (known.kind == "classes" or shared_documents(known))
    return ("phrasings" if phrased else "documents"), "blend"


def quick_keys(model: TwoTower, known: Pairs) -> tuple[Keys | None, How]:
    """The same for the evaluations during training, where many known phrasings would have to be embedded anew."""
    keys, how = keys_of(model, known)
    if keys == "prototypes" or (keys == "phrasings" and known.kind == "pairs" and len(known) > LIGHT_PHRASINGS):
        return "documents", "blend"
    return keys, how


def readings(
    model: TwoTower, dev: Pairs, known: Pairs, quick: tuple[Keys | None, How], team: Team
) -> Mapping[str, float]:
    """What is read on held-out rows while training goes on; the first decides."""
    with helped(model, team) as encode:
        values = evaluate_bare(*encode, dev, known=known, keys=quick[0], how=quick[1]).values
    # recall@10 of a small set soon stands still; the rank of the first hit then still tells models apart
    return {f"dev/{name}": values[name] for name in (main_metric(dev.kind), "mrr@10") if name in values}


def labels_of(prototypes: Prototypes) -> Pairs:
    """The classes a model has prototypes of, where none of their texts is at hand."""
    labels = list(prototypes.labels)
    return Pairs(kind="classes", table=pl.DataFrame({"text": labels, "label": labels}), source="the model's classes")


def shared_documents(pairs: Pairs) -> bool:
    """Whether documents have several known queries each, as the standard questions of a help desk do."""
    return pairs.kind == "pairs" and pairs.table["positive"].n_unique() <= len(pairs) / 2


def judge(model: TwoTower, rows: Rows, team: Team = ALONE) -> tuple[Evaluation | None, catalogues.Catalogue | None]:
    """The evaluation of a trained model on the held-out rows, and the catalogue it answers from.

    The other processes of the team are in `assist` meanwhile.
    """
    with helped(model, team) as encode:
        return _judged(model, rows, encode)


def _judged(
    model: TwoTower, rows: Rows, encode: tuple[Encode, Encode]
) -> tuple[Evaluation | None, catalogues.Catalogue | None]:
    if rows.train.kind == "graded":
        return (None if rows.dev is None else evaluate(*encode, rows.dev, known=rows.train)), None
    keys, how = keys_of(model, rows.train)
    if rows.dev is None:
        task = task_of(rows.train, rows.train, keys)
        return None, catalogues.build(*encode, task, how=how)
    task = task_of(rows.dev, rows.train, keys)
    evaluation = evaluate(*encode, rows.dev, known=rows.train, keys=keys, how=how)
    evaluation = replace(evaluation, verdict=f"{evaluation.verdict} {CHOSEN_HERE}")
    found = refusal_of(*encode, task, rows.out_of_scope, how=how)
    threshold = None if found is None else found.threshold
    both = task, worded(task, rows.dev, rows.train, keys)
    weight = evaluation.values["fused/weight"]
    lexical = lexicals.build(*encode, both, how=how, weight=weight, outside=rows.out_of_scope)
    catalogue = replace(catalogues.build(*encode, task, how=how, threshold=threshold), lexical=lexical)
    if found is None:
        return evaluation, catalogue
    shares = {"out_of_scope/refused": found.refused, "out_of_scope/right_kept": found.kept}
    told = {name: share for name, share in shares.items() if share is not None}
    return replace(evaluation, values={**evaluation.values, "threshold": found.threshold, **told}), catalogue


def yardsticks(dev: Pairs, known: Pairs, keys: Keys | None) -> dict[str, float]:
    """Facts to compare the main metric with while training goes on, by the same keys as the model's.

    Returns:
        "train.lexical", the lexical baseline; "metric.chance", a random order, of classes the largest share that one
        answer to all of them gets; "metric.chance_error", the standard error there.
    """
    metric = main_metric(dev.kind)
    if dev.kind == "graded":
        sides = [dev.table[c].to_list() for c in ("sentence1", "sentence2")]
        rest = [text for c in ("sentence1", "sentence2") for text in known.table[c].to_list()]
        lexical = spearman(graded_baseline(sides[0], sides[1], rest), dev.table["score"].to_numpy().astype(np.float64))
        return _beside(metric, lexical, 0.0, len(dev))
    task: Task = task_of(dev, known, "phrasings" if dev.kind == "classes" else keys)
    ranking = rank_task(task, lexical_scorer(task)).ranking
    level = chance(ranking, metric)
    if dev.kind == "classes":
        level = max(level, float(dev.table["label"].value_counts()["count"].max()) / len(dev))  # type: ignore[arg-type]
    return _beside(metric, float(measure(ranking, metric).mean()), level, len(task.queries))


def _beside(metric: str, lexical: float, level: float, queries: int) -> dict[str, float]:
    error = max(standard_error(metric, queries)(level), 1 / max(1, queries))
    return {"train.lexical": lexical, "metric.chance": level, "metric.chance_error": error}


def standard_error(metric: str, queries: int) -> Callable[[float], float]:
    """Standard error of a held-out metric at a value: of a share of queries, or of a rank correlation."""
    if metric == "spearman":
        return lambda value: (1 - value**2) / max(1, queries - 1) ** 0.5
    return lambda value: (max(0.0, value * (1 - value)) / max(1, queries)) ** 0.5


def lighter(dev: Pairs, *, seed: int) -> Pairs:
    """A collection with a smaller corpus: all judged documents and a sample of the others."""
    if dev.corpus is None or dev.corpus.height <= LIGHT_CORPUS:
        return dev
    judged = dev.corpus.join(dev.table.select("document_id").unique(), on="document_id", how="semi")
    others = dev.corpus.join(judged, on="document_id", how="anti")
    room = max(0, min(others.height, LIGHT_CORPUS - judged.height))
    return replace(dev, corpus=pl.concat([judged, others.sample(room, seed=seed)]))
