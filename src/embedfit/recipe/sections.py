"""The settings themselves, section by section: default, range and one-line description of each."""

from __future__ import annotations

__all__ = [
    "Auto",
    "CurriculumSection",
    "DataSection",
    "LossSection",
    "ModelSection",
    "NegativesSection",
    "OptimSection",
    "Recipe",
    "RunSection",
    "Section",
    "StageSection",
]

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from embedfit.recipe.duration import DurationText, SomeText, WholeText

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """What every section is: frozen, closed, and checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class DataSection(Section):
    """Where the rows come from and how they are divided."""

    files: tuple[str, ...] = Field((), description="files, folders or globs with the training rows")
    kind: Literal["auto", "pairs", "classes", "graded", "clicks", "collection"] = Field(
        "auto", description="what a row is"
    )
    columns: dict[str, str] = Field({}, description="role = column, where names alone do not say it")
    encoding: str = Field("utf-8", description="of text files")
    stream: bool | Auto = Field(
        "auto", description="Parquet pairs are read while training; auto: where half the memory would not hold them"
    )
    dev: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto", description="rows held out: a share below 1, or a number; auto: a tenth, of many 500 or 1 %"
    )
    dev_files: tuple[str, ...] = Field((), description="held-out rows from files of their own instead")
    out_of_scope: tuple[str, ...] = Field(
        (), description="files with texts that have no answer, to choose the threshold with"
    )
    on_bad_rows: Literal["error", "skip"] = Field("error", description="skip: leave broken rows out, and list them")


class ModelSection(Section):
    """The towers."""

    kind: str = Field(
        "auto", description="static, gru, lstm, ngram, transformer, or a path or name of a pretrained encoder"
    )
    shared: bool = Field(True, description="one tower for queries and documents; false: two")
    dimension: Count | Auto = Field("auto", description="size of an embedding (from-scratch towers)")
    vocabulary: Count | Auto = Field("auto", description="sub-words learned from the data, at most")
    layers: Annotated[int, Field(ge=0)] | Auto = Field(
        "auto", description="layers of gru, lstm, transformer; residual blocks of static; parts of ngram"
    )
    dropout: Share | Auto = Field("auto", description="dropout of the tower")
    max_tokens: Count | Auto = Field("auto", description="longer texts are cut here")


class LossSection(Section):
    """What training asks for."""

    kind: Literal[
        "auto", "infonce", "prototypes", "dcl", "debiased", "focal", "target", "logq", "sigmoid", "bce", "hinge",
        "triplet", "homotopy", "circle", "cosine", "cosent", "angle", "softmax_head", "simsiam", "byol",
    ] = Field("auto", description="the objective")  # fmt: skip
    against: Literal["auto", "batch", "prototypes"] = Field(
        "auto", description="classes: prototypes of all classes, or texts of one class against the others of the batch"
    )
    views: Literal["rows", "dropout"] = Field(
        "rows", description="dropout: every text is its own positive, under another dropout; labels are not looked at"
    )
    directions: Literal["auto", "both", "documents"] = Field(
        "auto", description="documents: queries look for documents; both: and documents for queries"
    )
    temperature: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="auto: from the number of candidates (floor below 5 % of chance)"
    )
    learned: bool = Field(False, description="the temperature is learned, between 0.01 and 1")
    coldest: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="temperature at the end (homotopy); auto: a tenth of the first"
    )
    margin: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto", description="lead that is asked of the positive; auto: 0 in a softmax, else that of the loss"
    )
    margin_kind: Literal["additive", "diameter", "angular", "multiple", "least"] = Field(
        "additive",
        description="cos - m, the same by how wide classes are, cos(a + m), A-softmax of m a, or min(cos m a, cos a) "
        "(infonce, prototypes)",
    )
    label_smoothing: Share | Auto = Field("auto", description="share of the target given to all candidates alike")
    target: Annotated[float, Field(gt=0, le=1)] | Auto = Field(
        "auto", description="probability asked of the positive (target); auto: what orthogonal negatives leave it"
    )
    target_form: Literal["squared", "clipped"] = Field(
        "squared", description="squared: (p - target)^2; clipped: log(target / p) from below (target)"
    )
    prior: Share = Field(0.01, description="share of the negatives that are positives in truth (debiased)")
    focus: float = Field(2.0, ge=0, description="exponent of 1 - p (focal)")
    power: Annotated[float, Field(ge=1)] | Auto = Field(
        "auto", description="exponent n of p^n (bce); auto: log2 of the candidates"
    )
    negatives: Literal["all", "semi_hard", "hardest"] = Field(
        "all", description="which of its negatives a positive is to lead (hinge, triplet)"
    )
    positive_too: bool = Field(False, description="the positive is corrected too, as in 2019 (logq)")
    grades: int = Field(2, ge=2, description="classes that grades are rounded to (softmax_head)")
    decay: float = Field(0.99, ge=0, le=1, description="share of itself that the copy of the tower keeps (byol)")
    stop: bool = Field(True, description="no gradient flows into what is predicted (simsiam)")
    nested: tuple[Count, ...] = Field(
        (), description="prefixes of the embedding that have a loss of their own, for embeddings that may be cut"
    )
    uniformity: float = Field(0.0, ge=0, description="weight of an even spread of the embeddings")
    variance: float = Field(0.0, ge=0, description="weight of coordinates that vary")
    covariance: float = Field(0.0, ge=0, description="weight of coordinates that do not repeat each other")
    spectral: float = Field(0.0, ge=0, description="weight of half the squared spectral norms of the weight matrices")


Rates = dict[Literal["query", "document", "loss", "embeddings", "layers", "head"], Annotated[float, Field(ge=0)]]


class NegativesSection(Section):
    """What queries are compared with, besides the documents of the other queries of their batch."""

    kind: Literal["in_batch", "random", "mixed", "queue", "mined"] = Field(
        "in_batch",
        description="random: drawn for each query; mixed: drawn for all; queue: embeddings of steps before; "
        "mined: near each query for the model as it is",
    )
    each: Count = Field(4, description="documents for each query (random, mined)")
    size: Count | Auto = Field(
        "auto",
        description="mixed: documents for a batch (auto: as many as it has); queue: embeddings (auto: 16 times that)",
    )
    meet: Literal["batch", "own"] = Field(
        "batch", description="own: a query meets only what was brought for it (random, mined, negative columns)"
    )
    refresh: SomeText = Field("1 epoch", description="mined: how often they are searched for anew")
    depth: Count = Field(50, description="mined: how many of the nearest documents are looked at")
    skip: Annotated[int, Field(ge=0)] = Field(0, description="mined: so many of the nearest are passed over")
    sieve: Literal["none", "margin", "share"] = Field(
        "share", description="mined: keep those below the positive's cosine by a margin, or below a share of it"
    )
    amount: Annotated[float, Field(gt=0, le=2)] | Auto = Field(
        "auto", description="mined: that margin (auto: 0.05) or share (auto: 0.95)"
    )
    teacher: str = Field(
        "", description="path or name of a pretrained encoder that is asked which documents may belong to a query"
    )
    teacher_margin: float = Field(
        0.0, ge=0, lt=2, description="documents are in doubt from so much below the teacher's cosine of the positive on"
    )


class OptimSection(Section):
    """How the weights move."""

    kind: Literal["adamw", "adam", "sgd", "adagrad", "rmsprop", "muon", "schedule_free"] = Field(
        "adamw", description="the optimiser"
    )
    learning_rate: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto", description="auto: by a learning-rate test on the data"
    )
    rates: Rates = Field(
        {}, description="times that rate by tower (query, document), place (embeddings, layers, head) or loss; 0: held"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] | Auto = Field(
        "auto", description="factor of the rate from each stacked layer to the one below"
    )
    momentum: Share | Auto = Field("auto", description="of sgd (auto: 0.9) and muon (auto: 0.95)")
    batch_size: Count | Auto = Field("auto", description="queries in one step")
    accumulate: Count = Field(
        1, description="batches whose mean gradient makes one step; adds no negatives: a query meets its own batch only"
    )
    length: WholeText | Auto = Field("auto", description="how long to train at most")
    warmup: DurationText = Field("6%", description="linear rise of the learning rate")
    schedule: Literal["auto", "cosine", "linear", "constant", "step", "cyclic", "one_cycle", "plateau", "wsd"] = Field(
        "auto", description="the learning rate after warmup; auto: cosine, and constant with schedule_free"
    )
    weight_decay: float = Field(0.01, ge=0, description="on weight matrices only")
    max_gradient_norm: float = Field(1.0, gt=0, description="longer gradients are shortened")
    average: Annotated[float, Field(ge=0, le=1)] | Auto = Field(
        "auto", description="moving average of the weights: share of the run it looks back; 0: none"
    )
    patience: int = Field(5, ge=1, description="evaluations without a better held-out metric before training stops")
    seed: int = Field(0, description="initialisation, order of the rows, dropout")


class StageSection(Section):
    """Part of a run: until when, and what differs from the rest of the recipe."""

    until: SomeText = Field(description="counted from the beginning of the run")
    batch_size: Count | None = Field(None, description="queries in one step")
    rate: float = Field(1.0, ge=0, description="times the learning rate of the schedule")
    rates: Rates = Field({}, description="times that by tower, place or loss; 0: held where it is")
    loss: dict[str, Any] = Field(
        {}, description="settings of [loss] that differ; with another kind, the others are at their defaults"
    )


class CurriculumSection(Section):
    """Stages, one after the other; what follows the last goes by the rest of the recipe."""

    stages: tuple[StageSection, ...] = Field(
        (), description='for example [{ until = "30%", batch_size = 32, loss = { kind = "infonce" } }]'
    )
    guard: bool | Auto = Field(
        "auto", description="go back when embeddings collapse; auto: with stages, hinge and triplet losses"
    )


class RunSection(Section):
    """Housekeeping."""

    evaluate_every: SomeText | Auto = Field("auto", description="how often the held-out metric is measured")
    checkpoint_every: SomeText | Auto = Field("auto", description="how often a resumable checkpoint is written")
    give_up: bool = Field(True, description="end a run of which it is certain that going on is of no use, and say why")
    threads: int = Field(0, ge=0, description="CPU threads; 0: one for static and ngram, all cores for the others")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="arithmetic of the towers; scores and loss are fp32"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one; or cpu, cuda, cuda:1"
    )
    memory_gb: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="what activations may take; a batch that needs more is embedded in parts, part of it twice"
    )


class Recipe(Section):
    """Every setting of a run."""

    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    loss: LossSection = LossSection()
    negatives: NegativesSection = NegativesSection()
    optim: OptimSection = OptimSection()
    curriculum: CurriculumSection = CurriculumSection()
    run: RunSection = RunSection()
