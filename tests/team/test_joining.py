"""Processes that a launcher started meet each other, and never one of an attempt that is over."""

from __future__ import annotations

import threading

import pytest
import torch.distributed as dist

from embedfit.errors import RunError
from embedfit.team.joining import ROOM, agreed_prefix


def served() -> dist.TCPStore:
    """A store as a launcher keeps one."""
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def meet(store: dist.TCPStore, size: int, *, delays: dict[int, float] | None = None) -> dict[int, str]:
    """What each process agrees on; a thread with a connection of its own stands for each."""
    rooms: dict[int, str] = {}
    clients = [dist.TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False) for _ in range(size)]

    def come(rank: int) -> None:
        rooms[rank] = agreed_prefix(clients[rank], rank, size, patience=20.0)

    threads = [threading.Timer((delays or {}).get(rank, 0.0), come, [rank]) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rooms


@pytest.mark.parametrize("late", [0, 1, 3])
@pytest.mark.parametrize("size", [2, 4])
def test_all_agree_whoever_comes_last(size: int, late: int):
    rooms = meet(served(), size, delays={late: 0.2})
    assert sorted(rooms) == list(range(size))
    assert len(set(rooms.values())) == 1


@pytest.mark.parametrize("late", [0, 1])
def test_a_second_attempt_meets_in_another_room_though_the_first_left_everything_behind(late: int):
    store = served()
    first = set(meet(store, 2).values())
    assert store.get(ROOM).decode() in first
    second = set(meet(store, 2, delays={late: 0.2}).values())
    assert len(first) == len(second) == 1
    assert first != second


def test_who_stays_away_is_named():
    with pytest.raises(RunError, match=r"processes \[1, 2\] of 3 did not come"):
        agreed_prefix(served(), 0, 3, patience=0.1)
    with pytest.raises(RunError, match="the first process did not come"):
        agreed_prefix(served(), 1, 3, patience=0.1)
