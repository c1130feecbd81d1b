"""Train on pairs in Parquet files that are larger than memory.

    torchrun --nproc-per-node 4 train_shards.py MODEL FOLDER OUT STEPS [BATCH_SIZE]

MODEL is a run, a model folder or a name on the hub, FOLDER holds the Parquet files. Each process reads and tokenises
its own row groups. Started again after a stop, with any number of processes, it goes on from the last checkpoint in
OUT. Nothing is held out, audited or reported here: measure the model with `embedfit evaluate`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import embedfit as ef
from embedfit.data.shards import open_shards
from embedfit.engine import checkpoint
from embedfit.engine.checkpoint import Checkpoint
from embedfit.engine.exchange import share
from embedfit.engine.step import Objective, train_step
from embedfit.engine.stream import known_of, streamed
from embedfit.losses import InfoNCE, Symmetric
from embedfit.optim import Optimiser, factor, groups
from embedfit.team import joined
from embedfit.towers import save

RATE, WARMUP, EVERY = 2e-5, 0.1, 200  # learning rate, share of the run, steps between two checkpoints


def main(model: str, folder: str, out: str, steps: int, batch_size: int = 1024) -> None:
    """What each process runs."""
    kept = Path(out) / "last.safetensors"
    with joined() as team:
        shards, towers = open_shards(folder), ef.load(model)
        share(towers, team)
        loss = Symmetric(InfoNCE(temperature=0.05))
        parts = {"query": towers.query, "document": towers.document}
        optimiser = Optimiser(groups(parts, weight_decay=0.01), betas=(0.9, 0.999))
        first = 0
        if team.tell(kept.is_file()):
            start = checkpoint.shared(kept, team)
            first = start.values["step"]
            towers.load_state_dict(start.part("model"))
            optimiser.load(start.part("optimiser"))
        towers.train()
        for number in range(first, steps):
            batch = streamed(shards, towers, number, batch_size=batch_size, team=team)
            objective = Objective(model=towers, loss=loss, known=known_of(batch), memory=4e9, team=team)
            step = train_step(objective, batch, number=number)
            optimiser.clip(1.0)
            optimiser.step(RATE * factor(number, total=steps, warmup=round(WARMUP * steps), kind="linear"))
            if team.leads and ((number + 1) % EVERY == 0 or number + 1 == steps):
                sys.stdout.write(f"{number + 1} of {steps}: loss {step.loss:.6f}\n")
                state = {"model": towers.state_dict(), "optimiser": optimiser.tensors()}
                # clones, because towers that are one and the same would be refused as shared memory
                tensors = {f"{part}/{k}": v.clone() for part, values in state.items() for k, v in values.items()}
                checkpoint.save(kept, Checkpoint(values={"step": number + 1}, tensors=tensors))
        if team.leads:
            save(towers, Path(out) / "model")


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
