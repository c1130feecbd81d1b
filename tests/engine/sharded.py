"""Run by each process of the test of sharded towers: a few steps whole and alone, then sharded over the processes.

python sharded.py RANK SIZE STORE OUT
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from little import plan, recipe, rows

from embedfit.engine.fit import Setup, prepare
from embedfit.engine.sharding import is_sharded, shard
from embedfit.engine.step import train_step
from embedfit.errors import ModelError
from embedfit.team import ALONE, Team

SIZES = {"layers 2": {"model__layers": 2}, "two towers": {"model__layers": 1, "model__shared": False}}
MEMORY = {"all graphs": math.inf, "no graphs": 0.0}


def made_for(settings: dict[str, Any]) -> Setup:
    """A small encoder that drops nothing out, and rows of many lengths."""
    more = {"model__vocabulary": 200, "model__dropout": 0.0, "optim__batch_size": 15, "run__precision": "fp32"}
    made = prepare(rows("pairs"), recipe("transformer", **more, **settings))
    for tower in (made.objective.model.query, made.objective.model.document):
        tower.micro = 4
    return made


def two_steps(made: Setup, team: Team, memory: float) -> dict[str, Any]:
    """Losses and, of the first step, the whole gradient."""
    objective = replace(made.objective, team=team, memory=memory)
    model = objective.model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses, gradients = [], {}
    for number in range(2):
        losses.append(train_step(objective, made.material.batch_of(number, plan(made)), number=number).loss)
        for name, p in model.named_parameters():
            if p.grad is not None and number == 0:
                gradients[name] = (p.grad.full_tensor() if is_sharded(p) else p.grad).clone()
        optimiser.step()
        optimiser.zero_grad()
    return {"losses": losses, "gradients": gradients}


def compare(settings: dict[str, Any], memory: float, team: Team) -> dict[str, Any]:
    """Sharded against whole, and what `fit` says to a sharded model."""
    wanted_setup = made_for(settings)
    for module in wanted_setup.objective.model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.sparse = False
    wanted = two_steps(wanted_setup, ALONE, math.inf)
    made = made_for(settings)
    whole = sum(p.numel() for p in made.objective.model.parameters())
    shard(made.objective.model, team)
    mine = sum(p.to_local().numel() for p in made.objective.model.parameters())
    found = two_steps(made, team, memory)
    assert found["gradients"].keys() == wanted["gradients"].keys()
    worst = max(
        float((found["gradients"][name] - g).norm() / g.norm())
        for name, g in wanted["gradients"].items()
        if g.norm() > 1e-6  # that of a key's bias is nothing but rounding
    )
    losses = zip(found["losses"], wanted["losses"], strict=True)
    try:
        prepare(rows("pairs"), recipe("transformer"), made.objective.model)
        said = ""
    except ModelError as error:
        said = error.message
    return {"loss": max(abs(a - b) / b for a, b in losses), "gradient": worst, "share": mine / whole, "fit": said}


def main() -> None:
    """One process."""
    rank, size, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    team = Team(rank=rank, size=size)
    found = {f"{model}, {memory}": compare(SIZES[model], MEMORY[memory], team) for model in SIZES for memory in MEMORY}
    (out / f"{rank}.json").write_text(json.dumps(found), "utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
