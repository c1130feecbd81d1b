"""From rows and a recipe to everything a run needs: towers, objective, examples, and what "auto" became."""

from __future__ import annotations

__all__ = ["Setup", "prepare"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from embedfit.data.examples import Examples, examples
from embedfit.data.shards import Shards
from embedfit.engine.bring import guide_for, negatives_for
from embedfit.engine.build import Built, built, family_of_tower
from embedfit.engine.checks import (
    check_halves,
    check_loss,
    check_rates,
    check_stream,
    check_towers,
    check_warmup,
    nested,
)
from embedfit.engine.curriculum import Stage, staged
from embedfit.engine.defaults import FAMILIES, Chosen, choose, family_of, kind_for
from embedfit.engine.device import device_for, memory_for, precision_for, threads_for
from embedfit.engine.levels import loss_facts
from embedfit.engine.objective import Asked, make_loss, penalties
from embedfit.engine.plan import Material
from embedfit.engine.step import Objective
from embedfit.engine.stream import Stream
from embedfit.engine.views import both_ways, twice
from embedfit.negatives import InBatch
from embedfit.optim import Group, groups
from embedfit.pairs import Kind, Pairs
from embedfit.recipe import LossSection, Recipe, patch
from embedfit.scores import Known
from embedfit.team import team_of_this_process
from embedfit.towers import Prototypes, Tower, TwoTower


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


def prepare(train_pairs: Pairs, recipe: Recipe, towers: TwoTower | None = None, shards: Shards | None = None) -> Setup:
    """Build towers, objective and examples.

    Args:
        train_pairs: the training rows, or a sample of them.
        recipe: the settings.
        towers: train these instead of building what the recipe says.
        shards: what the rows are a sample of; trained on in their place. Towers, learning rate and all that is "auto"
            follow from the sample, the length of the run from all rows.

    Raises:
        DataError: nothing to learn from.
        ModelError: the model cannot be built or loaded.
        RecipeError: settings that exclude each other.
    """
    data, rows = _examples(train_pairs, recipe)
    kind = "given" if towers is not None else kind_for(recipe.model.kind)
    family_name = family_of(kind) if towers is None else family_of_tower(towers.query)
    if shards is not None:
        check_stream(recipe)
    count = None if shards is None else len(shards)
    chosen = choose(recipe, data, rows, FAMILIES[family_name], count=count)
    check_loss(chosen.loss, recipe, data)
    check_towers(recipe, towers, data)
    threads, device, precision = _machine(recipe, family_name)
    team = team_of_this_process()
    made = built(kind, recipe, data, device=device, team=team, towers=towers)
    towers = made.towers
    # a document that only its own query meets has no second direction
    symmetric = not data.catalogue and recipe.negatives.meet == "batch"
    loss = _loss(chosen.asked, towers.query, symmetric=symmetric).to(device)
    stages = _stages(recipe, data, rows, chosen, towers.query, symmetric=symmetric, count=count or len(data))
    if stages[-1].until != chosen.steps:
        chosen = choose(recipe, data, rows, FAMILIES[family_name], steps=stages[-1].until, count=count)
    check_warmup(recipe, chosen.warmup, chosen.steps)
    known = None if data.target is not None else Known(*_known(data))
    negatives = negatives_for(
        recipe, data, known, batch_size=chosen.batch_size, steps_per_epoch=chosen.steps_per_epoch, team=team
    )
    guide = guide_for(recipe, data)
    objective = Objective(
        model=towers,
        loss=loss,
        known=(known and known.to(device)) if shards is None else "batch",
        guide=guide and guide.to(device),
        penalties=penalties(recipe.loss),
        nested=nested(recipe, towers),
        precision=precision,
        memory=memory_for(recipe.run.memory_gb, device),
        team=team,
    )
    check_rates(recipe, towers)
    material = Material(
        data=data,
        query_tokens=made.query_tokens,
        document_tokens=made.document_tokens,
        negatives=negatives,
        alone=recipe.negatives.meet == "own",
        device=device,
        stream=None if shards is None else Stream(shards=shards, model=towers, team=team),
    )
    return Setup(
        recipe=recipe,
        objective=objective,
        material=material,
        groups=_groups(recipe, chosen, objective, stages),
        chosen=chosen,
        stages=stages,
        facts={
            **_facts(objective, material, chosen, made),
            "chosen.model": kind,
            "chosen.threads": threads,
        },
    )


def _loss(settled: Asked, tower: Tower, *, symmetric: bool) -> Loss | PairLoss:
    check_halves(settled.kind, tower)
    return make_loss(settled, tower, symmetric=symmetric)


def _facts(objective: Objective, material: Material, chosen: Chosen, made: Built) -> dict[str, Any]:
    """Of the settings, the loss, the towers and the machine."""
    towers = made.towers
    brought = not isinstance(material.negatives, InBatch) or material.alone
    return {
        **chosen.facts(),
        **loss_facts(
            objective.loss,
            chosen,
            material.data,
            brought=brought,
            dimension=towers.dimension // towers.query.parts,
        ),
        **_of_towers(made),
        "chosen.precision": str(objective.precision).removeprefix("torch."),
        "chosen.device": str(material.device),
        "chosen.processes": objective.team.size,
    }


def _machine(recipe: Recipe, family: FamilyName) -> tuple[int, torch.device, torch.dtype]:
    """Threads, where to compute, and the arithmetic of the towers."""
    device = device_for(recipe.run.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # whose generator dropout draws from
    return recipe.run.threads or threads_for(family), device, precision_for(recipe.run.precision, family, device)


def _of_towers(made: Built) -> dict[str, Any]:
    return {
        "model.parameters": sum(p.numel() for p in made.towers.parameters()),
        "model.dimension": made.towers.dimension,
        "model.tokens": int(made.query_tokens.lengths.sum()),
        "chosen.max_tokens": made.towers.query.max_tokens,
    }


def _groups(recipe: Recipe, chosen: Chosen, objective: Objective, stages: Sequence[Stage]) -> list[Group]:
    """Optimiser groups of towers and losses."""
    model = objective.model
    learned = {f"loss of stage {i}": stage.loss for i, stage in enumerate(stages) if stage.loss is not None}
    parts = {"query": model.query, "document": model.document, "loss": objective.loss, **learned}
    scales: dict[str, float] = {str(name): rate for name, rate in recipe.optim.rates.items()}
    if isinstance(model.document, Prototypes):
        scales["document"] = scales.get("document", 1.0) * chosen.prototype_scale
    return groups(parts, weight_decay=recipe.optim.weight_decay, scales=scales, layer_decay=chosen.layer_decay)


def _examples(pairs: Pairs, recipe: Recipe) -> tuple[Examples, Kind]:
    """The examples, and the kind of rows they come from or stand for."""
    data = examples(pairs, prototypes=against_prototypes(recipe.loss))
    if recipe.loss.views == "dropout":
        return twice(data), "pairs"
    return both_ways(data) if recipe.loss.kind == "byol" else data, pairs.kind


def against_prototypes(section: LossSection) -> bool:
    """Whether classes are learned as prototypes."""
    if section.against == "auto":
        return section.kind in ("auto", "prototypes")
    return section.against == "prototypes"


def _stages(
    recipe: Recipe, data: Examples, kind: Kind, chosen: Chosen, tower: Tower, *, symmetric: bool, count: int
) -> tuple[Stage, ...]:
    """The stages of the run, with the losses they ask for."""

    def loss_of(changes: Mapping[str, Any]) -> Loss | PairLoss:
        usual = LossSection().model_dump() if "kind" in changes else {}  # another loss has other settings
        changed = patch(recipe, {f"loss.{name}": value for name, value in {**usual, **changes}.items()})
        settled = choose(changed, data, kind, FAMILIES[family_of_tower(tower)])
        check_loss(settled.loss, changed, data)
        return _loss(settled.asked, tower, symmetric=symmetric).to(next(tower.parameters()).device)

    return staged(
        recipe.curriculum.stages,
        length=recipe.optim.length,
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        accumulate=recipe.optim.accumulate,
        examples=count,
        loss_of=loss_of,
    )


def _known(data: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    return data.query_id[data.query], data.document_id[data.positive]
