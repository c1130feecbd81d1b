"""Train with Ray Train, here in two local workers that share every batch.

    pip install 'embedfit[ray]'
    python ray_train.py questions.csv runs/ray optim.length="3 epochs"

On a cluster, OUT is a folder that every machine sees: after a failure training goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

import embedfit as ef
from embedfit.recipe import parse_change


def train(config: dict[str, Any]) -> None:
    """What each worker runs; Ray has made the process group, and `fit` finds it."""
    run = ef.fit(config["data"], out=config["out"], settings=config["settings"], resume=True)
    metric = run.evaluation["metric"]
    values = {metric: run.evaluation.get(metric), **{k: run.facts[k] for k in ("chosen.processes", "train.seconds")}}
    first = ray.train.get_context().get_world_rank() == 0
    ray.train.report(values, checkpoint=Checkpoint.from_directory(run.folder) if first else None)


def main(data: str, out: str, *changes: str) -> None:
    """Start two workers with a processor each, and print what they report."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    place, settings = Path(out).resolve(), dict(parse_change(change) for change in ("run.threads=1", *changes))
    trainer = TorchTrainer(
        train,
        train_loop_config={"data": str(Path(data).resolve()), "out": str(place), "settings": settings},
        torch_config=TorchConfig(backend="gloo"),  # "nccl" where use_gpu is true
        scaling_config=ScalingConfig(num_workers=2, use_gpu=False),
        run_config=RunConfig(storage_path=f"{place}-ray", failure_config=FailureConfig(max_failures=2)),
    )
    sys.stdout.write(json.dumps(trainer.fit().metrics) + "\n")
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
