"""From rows and a recipe to everything a run needs: towers, objective, examples, and what "auto" became."""

from __future__ import annotations

__all__ = ["Setup", "prepare"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from embedfit.data.examples import Examples, examples
from embedfit.engine.bring import guide_for, negatives_for
from embedfit.engine.curriculum import Stage, staged
from embedfit.engine.defaults import FAMILIES, Chosen, FamilyName, choose, family_of, kind_for
from embedfit.engine.device import device_for, memory_for, precision_for, threads_for
from embedfit.engine.exchange import share
from embedfit.engine.levels import loss_facts
from embedfit.engine.objective import OBJECTIVES, make_loss, penalties
from embedfit.engine.plan import Material
from embedfit.engine.step import Objective
from embedfit.engine.views import check_views, twice
from embedfit.errors import RecipeError
from embedfit.optim import Group, groups
from embedfit.pairs import Kind, Pairs
from embedfit.recipe import LossSection, Recipe, patch
from embedfit.scores import Known
from embedfit.team import team_of_this_process
from embedfit.towers import Ngram, Prototypes, Recurrent, Static, Tower, TwoTower, build, cached_tokens, load
from embedfit.types import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything a run needs, settled but for the learning rate.

    Attributes:
        recipe: as given.
        objective: towers and loss.
        material: examples and tokens.
        groups: optimiser groups.
        chosen: what "auto" became.
        facts: of the model and the loss.
        stages: of the run.
    """

    recipe: Recipe
    objective: Objective
    material: Material
    groups: list[Group]
    chosen: Chosen
    facts: Mapping[str, Any]
    stages: tuple[Stage, ...] = ()


def prepare(train_pairs: Pairs, recipe: Recipe, towers: TwoTower | None = None) -> Setup:
    """Build towers, objective and examples.

    Args:
        train_pairs: the training rows.
        recipe: the settings.
        towers: train these instead of building what the recipe says.

    Raises:
        DataError: nothing to learn from.
        ModelError: the model cannot be built or loaded.
        RecipeError: settings that exclude each other.
    """
    data, rows = _examples(train_pairs, recipe)
    kind = "given" if towers is not None else kind_for(recipe.model.kind)
    family_name = family_of(kind) if towers is None else family_of_tower(towers.query)
    chosen = choose(recipe, data, rows, FAMILIES[family_name])
    _check_loss(chosen.loss, recipe, data)
    _check_towers(recipe, towers, data)
    threads = recipe.run.threads or threads_for(family_name)
    device = device_for(recipe.run.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # whose generator dropout draws from
    precision = precision_for(recipe.run.precision, family_name, device)
    team = team_of_this_process()

    if towers is None:
        towers = _towers(kind, recipe, data)
    share(towers.to(device), team)
    query_tokens = cached_tokens(towers.query, data.query_texts)
    if data.catalogue:
        means = class_means(towers, data, query_tokens)
        table = Prototypes.from_means(data.document_texts, means, parts=towers.query.parts)
        table.sparse = recipe.negatives.kind == "mixed"
        towers = TwoTower(towers.query, table)
        share(towers.to(device), team)  # sums may round differently on another machine
    document_tokens = cached_tokens(towers.document, data.document_texts)
    if recipe.loss.views == "dropout":
        check_views(towers.query, data.query_texts)

    # a document that only its own query meets has no second direction
    symmetric = not data.catalogue and recipe.negatives.meet == "batch"
    loss = make_loss(chosen.asked, towers.query, symmetric=symmetric).to(device)
    stages = _stages(recipe, data, rows, chosen, towers.query, symmetric=symmetric)
    for stage in stages:
        if stage.loss is not None:
            stage.loss.to(device)
    if stages[-1].until != chosen.steps:
        chosen = choose(recipe, data, rows, FAMILIES[family_name], steps=stages[-1].until)
    known = None if data.target is not None else Known(*_known(data))
    negatives = negatives_for(
        recipe, data, known, batch_size=chosen.batch_size, steps_per_epoch=chosen.steps_per_epoch, team=team
    )
    guide = guide_for(recipe, data)
    objective = Objective(
        model=towers,
        loss=loss,
        known=known and known.to(device),
        guide=guide and guide.to(device),
        penalties=penalties(recipe.loss),
        nested=_nested(recipe, towers),
        precision=precision,
        memory=memory_for(recipe.run.memory_gb, device),
        team=team,
    )
    _check_rates(recipe, towers)
    learned = {f"loss of stage {i}": stage.loss for i, stage in enumerate(stages) if stage.loss is not None}
    parts = {"query": towers.query, "document": towers.document, "loss": loss, **learned}
    scales: dict[str, float] = {str(name): rate for name, rate in recipe.optim.rates.items()}
    if data.catalogue:
        scales["document"] = scales.get("document", 1.0) * chosen.prototype_scale
    made = groups(parts, weight_decay=recipe.optim.weight_decay, scales=scales, layer_decay=chosen.layer_decay)
    material = Material(
        data=data,
        query_tokens=query_tokens,
        document_tokens=document_tokens,
        negatives=negatives,
        alone=recipe.negatives.meet == "own",
        device=device,
    )
    return Setup(
        recipe=recipe,
        objective=objective,
        material=material,
        groups=made,
        chosen=chosen,
        stages=stages,
        facts={
            **chosen.facts(),
            **loss_facts(loss, chosen, data, brought=recipe.negatives.kind != "in_batch" or material.alone),
            "chosen.model": kind,
            "chosen.precision": str(precision).removeprefix("torch."),
            "chosen.threads": threads,
            "chosen.device": str(device),
            "chosen.processes": team.size,
            "model.parameters": sum(p.numel() for p in towers.parameters()),
            "model.dimension": towers.dimension,
            "chosen.max_tokens": towers.query.max_tokens,
            "model.tokens": int(query_tokens.lengths.sum()),
        },
    )


def _examples(pairs: Pairs, recipe: Recipe) -> tuple[Examples, Kind]:
    """The examples, and the kind of rows they come from or stand for."""
    data = examples(pairs, prototypes=against_prototypes(recipe.loss))
    return (twice(data), "pairs") if recipe.loss.views == "dropout" else (data, pairs.kind)


def against_prototypes(section: LossSection) -> bool:
    """Whether classes are learned as prototypes."""
    if section.against == "auto":
        return section.kind in ("auto", "prototypes")
    return section.against == "prototypes"


@torch.no_grad()
def class_means(towers: TwoTower, data: Examples, tokens: Tokens) -> torch.Tensor:
    """Mean unit embedding of each class before training, [classes, e]."""
    was, device = towers.training, next(towers.parameters()).device
    towers.eval()
    chunks = [
        torch.nn.functional.normalize(towers.query(tokens.select(rows).to(device)).float(), dim=-1).cpu()
        for rows in torch.arange(len(tokens)).split(1024)
    ]
    towers.train(was)
    sums = torch.zeros(len(data.document_texts), towers.dimension)
    sums.index_add_(0, data.group, torch.cat(chunks)[data.query])
    return sums / torch.bincount(data.group, minlength=len(sums)).clamp(min=1)[:, None]


def _check_loss(loss: str, recipe: Recipe, data: Examples) -> None:
    graded = data.target is not None
    if graded != (OBJECTIVES[loss].rows == "graded") or (loss == "prototypes" and not data.catalogue):
        fits = [
            name
            for name, kind in OBJECTIVES.items()
            if graded == (kind.rows == "graded") and (name != "prototypes" or data.catalogue or data.partners)
        ]
        raise RecipeError(
            f"loss.kind '{loss}' does not fit {'graded' if graded else 'these'} rows; expected {', '.join(fits)}",
            hint='leave loss.kind at "auto"',
        )
    if loss == "logq" and data.catalogue and recipe.negatives.kind != "mixed":
        raise RecipeError(
            "every text meets the prototypes of all classes, so that no sampling is to be corrected (logq)",
            hint='set loss.kind = "prototypes", or negatives.kind = "mixed" to draw classes',
        )
    if OBJECTIVES[loss].alone and data.catalogue:
        raise RecipeError(
            f"loss.kind '{loss}' is of pairs of texts, and these are compared with prototypes",
            hint='leave loss.against at "auto"',
        )
    if recipe.loss.against == "prototypes" and not data.catalogue:
        raise RecipeError(
            'loss.against is "prototypes", and these rows have no classes', hint='leave loss.against at "auto"'
        )


def _check_towers(recipe: Recipe, towers: TwoTower | None, data: Examples) -> None:
    if data.catalogue and not (recipe.model.shared if towers is None else towers.shared):
        raise RecipeError(
            "class prototypes take the place of a document tower, and a second tower was asked for",
            hint='leave model.shared at true, or set loss.kind = "infonce"',
        )


def _stages(
    recipe: Recipe, data: Examples, kind: Kind, chosen: Chosen, tower: Tower, *, symmetric: bool
) -> tuple[Stage, ...]:
    """The stages of the run, with the losses they ask for."""

    def loss_of(changes: Mapping[str, Any]) -> Loss | PairLoss:
        changed = patch(recipe, {f"loss.{name}": value for name, value in changes.items()})
        settled = choose(changed, data, kind, FAMILIES[family_of_tower(tower)])
        _check_loss(settled.loss, changed, data)
        return make_loss(settled.asked, tower, symmetric=symmetric)

    return staged(
        recipe.curriculum.stages,
        length=recipe.optim.length,
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        accumulate=recipe.optim.accumulate,
        examples=len(data),
        loss_of=loss_of,
    )


def _nested(recipe: Recipe, towers: TwoTower) -> tuple[int, ...]:
    wide = [size for size in recipe.loss.nested if size >= towers.dimension]
    if recipe.loss.nested and (towers.query.parts > 1 or wide):
        why = f"it has {towers.dimension} dimensions" if wide else "it is several embeddings of equal size end to end"
        raise RecipeError(
            f"loss.nested is {list(recipe.loss.nested)}, and the embedding cannot be cut there: {why}",
            hint="take smaller prefixes" if wide else 'take another tower, for example model.kind = "static"',
        )
    return recipe.loss.nested


def _check_rates(recipe: Recipe, towers: TwoTower) -> None:
    if towers.shared and "document" in recipe.optim.rates:
        raise RecipeError(
            "optim.rates has a rate for the document tower, and one tower embeds queries and documents",
            hint="set the rate of 'query', or model.shared = false",
        )


def family_of_tower(tower: Tower) -> FamilyName:
    """The family of a tower that was built by the caller."""
    match tower:
        case Ngram() | Static():
            return "bag"
        case Recurrent():
            return "recurrent"
    return "pretrained"


def _towers(kind: str, recipe: Recipe, data: Examples) -> TwoTower:
    settings = recipe.model
    sizes = {
        name: None if value == "auto" else value
        for name in ("dimension", "vocabulary", "layers", "dropout", "max_tokens")
        for value in [getattr(settings, name)]
    }
    if kind == "ngram" and data.target is not None and sizes["dropout"] is None:
        sizes["dropout"] = GRADED_DROPOUT
    if family_of(kind) == "pretrained":
        first = load(kind, dropout=sizes["dropout"], max_tokens=sizes["max_tokens"])
        if settings.shared:
            return first
        return TwoTower(first.query, load(kind, dropout=sizes["dropout"], max_tokens=sizes["max_tokens"]).document)
    texts = data.query_texts if data.catalogue else list(dict.fromkeys(data.query_texts + data.document_texts))
    count = 1 if settings.shared else 2
    return TwoTower(*(build(kind, texts, **sizes, seed=recipe.optim.seed + i) for i in range(count)))


def _known(data: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    return data.query_id[data.query], data.document_id[data.positive]


GRADED_DROPOUT = 0.5  # of an n-gram tower's features: a grade needs more of the text than a class does
