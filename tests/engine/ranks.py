"""Run by each process of a distributed test: trains on what all processes share and writes what it found.

python ranks.py RANK SIZE STORE OUT JOB
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from little import plan, recipe, rows
from torch import Tensor

from embedfit.engine import contrast, tiling
from embedfit.engine.fit import fit, prepare
from embedfit.engine.pairing import Pairing
from embedfit.engine.step import Objective, train_step
from embedfit.losses import Loss
from embedfit.optim import Optimiser
from embedfit.scores.tiles import Tiles

JOBS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pairs": ("pairs", "static", {}),
    "two towers, dropout": ("pairs", "gru", {"model__shared": False, "model__dropout": 0.3}),
    "classes": ("classes", "ngram", {}),
    "same-label pairs": ("classes", "static", {"loss__kind": "infonce"}),
    "label smoothing": ("pairs", "static", {"loss__label_smoothing": 0.1}),
    "debiased": ("pairs", "static", {"loss__kind": "debiased", "loss__learned": True}),
    "logq": ("pairs", "static", {"loss__kind": "logq"}),
    "sigmoid": ("pairs", "static", {"loss__kind": "sigmoid"}),
    "byol": ("pairs", "static", {"loss__kind": "byol", "model__dropout": 0.2}),
    "angle": ("graded", "static", {"loss__kind": "angle"}),
    "nested and even": ("pairs", "gru", {"loss__nested": [4], "loss__uniformity": 0.1, "loss__spectral": 0.1}),
    "drawn classes": (
        "classes",
        "static",
        {"loss__kind": "prototypes", "negatives__kind": "mixed", "negatives__size": 4},
    ),
    "cosine": ("graded", "static", {"loss__kind": "cosine"}),
    "cosent": ("graded", "gru", {"loss__kind": "cosent"}),
    "own negatives": ("pairs", "static", {"negatives__kind": "random", "negatives__meet": "own"}),
    "queue": ("pairs", "static", {"negatives__kind": "queue"}),
    "cached": ("pairs", "gru", {"run__memory_gb": 1e-9}),
}


def steps(job: str, micro: int, way: str) -> dict[str, Tensor]:
    """Losses, gradients and weights of a few steps."""
    kind, model, more = JOBS[job]
    made = prepare(rows(kind), recipe(model, optim__batch_size=17, **more))
    objective: Objective = made.objective
    for tower in (objective.model.query, objective.model.document):
        tower.micro = micro
    optimiser = Optimiser(made.groups, betas=(0.9, 0.99))
    objective.model.train()
    found: dict[str, Tensor] = {}
    losses = []
    contrast.DENSE = contrast.TILED = 1 << 18 if way == "dense" else 0
    objective = replace(objective, ring=1 if way == "ring" else 1 << 20)
    tiling.BLOCK, tiling.WIDTH, contrast.STREAMED = 3, 4, 3
    at_hand: list[float] = [0.0]  # shares of a batch's documents
    make = tiling.tiles_at_hand

    def noted(query: Tensor, loss: Loss, pairing: Pairing, document: Tensor, first: int | None = None) -> Tiles:
        at_hand.append(len(document) / sum(pairing.documents))
        return make(query, loss, pairing, document, first)

    tiling.tiles_at_hand = noted
    for number in range(4):
        step = train_step(objective, made.material.batch_of(number, plan(made)), number=number, seed=5)
        losses.append(step.loss)
        named = [*objective.model.named_parameters(), *objective.loss.named_parameters()]
        for name, p in named:
            if p.grad is not None and number == 0:
                found[f"gradient/{name}"] = p.grad.to_dense().clone() if p.grad.is_sparse else p.grad.clone()
        optimiser.step(0.01)
        made.material.negatives.take(step.batch, step.document[: len(step.batch.document)])
    tiling.tiles_at_hand = make
    found["at hand"] = torch.tensor(max(at_hand))
    found |= {f"weight/{k}": v.clone() for k, v in objective.model.state_dict().items()}
    return found | {"loss": torch.tensor(losses, dtype=torch.float64)}


def run(folder: Path, resume: bool, stop: int) -> dict[str, Tensor]:
    """A whole small run in a folder, which asks to be stopped after some steps and may be taken up again."""
    made = prepare(rows("pairs"), recipe("static", model__dropout=0.2))

    def progress(step: int, steps: int, readings: Any) -> None:
        if step == stop and "loss" in readings:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        model = fit(made, folder=folder, measure=lambda m: {}, progress=progress, resume=resume).model
    except KeyboardInterrupt:
        return {}
    return {k: v.clone() for k, v in model.state_dict().items()}


def main() -> None:
    """One process."""
    rank, size, store, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    job = json.loads(sys.argv[5])
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    kinds: dict[str, Callable[..., dict[str, Tensor]]] = {"steps": steps, "run": run}
    found = {}
    for name, (what, arguments) in job.items():
        if what == "run":
            arguments = {**arguments, "folder": Path(arguments["folder"])}
        found |= {f"{name}|{k}": v for k, v in kinds[what](**arguments).items()}
    torch.save(found, out / f"{size}-{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
