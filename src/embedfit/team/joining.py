"""How a process that a launcher has started gets into one group with the others."""

from __future__ import annotations

__all__ = ["agreed_prefix", "joined"]

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from embedfit.errors import RunError
from embedfit.team.team import Team, team_of_this_process


@contextlib.contextmanager
def joined() -> Iterator[Team]:
    """Inside, this process is in the group that a launcher has started it for; alone where there is no launcher.

    torchrun, and whatever sets RANK, WORLD_SIZE and MASTER_ADDR as it does, starts processes that do not yet know each
    other. A group that the caller has initialised is left as it is.

    Raises:
        RunError: the others did not come within ten minutes.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1 and dist.is_available() and not dist.is_initialized()
    if started:
        place, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place < gpus:
            torch.cuda.set_device(place)
        store, rank, size = next(dist.rendezvous("env://"))
        dist.init_process_group(
            # gloo beside nccl, because the recipe may ask for the processor
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=dist.PrefixStore(agreed_prefix(store, rank, size), store),
            rank=rank,
            world_size=size,
            timeout=timedelta(hours=12),  # time for the first process to measure
        )
    try:
        yield team_of_this_process()
    finally:
        if started:
            dist.destroy_process_group()


def agreed_prefix(store: dist.Store, rank: int, size: int, *, patience: float = 600.0) -> str:
    """A name that only the processes alive now share, to keep what they exchange apart from what the dead left.

    torchrun keeps its store over restarts (pytorch issue 135712). The addresses that the processes of the attempt
    before put there are still in it, and one that reads them waits for a dead process for ever. Counting attempts does
    not help: each machine counts its own. So the first process names a new room, the others knock there with a name of
    their own, and they stay where somebody lets them in: a dead process lets nobody in.

    Args:
        store: that all processes reach.
        rank: number of this process.
        size: how many there are.
        patience: seconds to wait for the others.

    Returns:
        The room.

    Raises:
        RunError: the others did not come in time.
    """
    own, give_up = uuid.uuid4().hex, time.monotonic() + patience
    if rank == 0:
        store.set(ROOM, own)
        absent = set(range(1, size))
        while absent:
            for other in [o for o in absent if store.check([f"{own}/knock/{o}"])]:
                name = store.get(f"{own}/knock/{other}").decode()
                store.set(f"{own}/open/{name}", "come in")
                absent.discard(other)
            _wait(give_up, f"processes {sorted(absent)} of {size} did not come" if absent else "")
        return own
    while True:
        if store.check([ROOM]):
            room = store.get(ROOM).decode()  # perhaps of the attempt before: read again each time
            store.set(f"{room}/knock/{rank}", own)
            if store.check([f"{room}/open/{own}"]):
                return room
        _wait(give_up, "the first process did not come")


def _wait(give_up: float, missing: str) -> None:
    if missing and time.monotonic() > give_up:
        raise RunError(
            f"expected all processes of the run to meet; {missing}",
            hint="see what ended the missing process first; its own output says why",
        )
    time.sleep(PAUSE if missing else 0)


ROOM = "embedfit/room"
PAUSE = 0.02  # seconds between two looks
