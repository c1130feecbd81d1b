"""Ring collectives played rank by rank: who holds what is followed, bytes and rounds are counted. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Ranks in a ring, some of them on each machine.

    Attributes:
        ranks: how many.
        per_machine: ranks of a machine; neighbours in the ring.
        inside: bytes per second from a rank to the next one on its machine.
        between: bytes per second from the last rank of a machine to the first one of the next.
        latency: seconds of a round, whatever is sent.
    """

    ranks: int
    per_machine: int
    inside: float
    between: float
    latency: float

    def bandwidth(self, rank: int) -> float:
        """Bytes per second from a rank to the next."""
        after = (rank + 1) % self.ranks
        return self.inside if rank // self.per_machine == after // self.per_machine else self.between

    def seconds(self, sent: Sequence[int]) -> float:
        """Time of a round in which every rank sends so many bytes to the next; the slowest link decides."""
        return self.latency + max(count / self.bandwidth(rank) for rank, count in enumerate(sent))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a collective, or several one after the other, cost.

    Attributes:
        sent: bytes by rank.
        received: bytes by rank.
        rounds: how many.
        seconds: of all rounds.
    """

    sent: tuple[int, ...]
    received: tuple[int, ...]
    rounds: int
    seconds: float

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            tuple(a + b for a, b in zip(self.sent, other.sent, strict=True)),
            tuple(a + b for a, b in zip(self.received, other.received, strict=True)),
            self.rounds + other.rounds,
            self.seconds + other.seconds,
        )


def even(total: int, ranks: int) -> list[int]:
    """Parts of a whole that differ by one at most."""
    return [total // ranks + (rank < total % ranks) for rank in range(ranks)]


def all_gather(cluster: Cluster, blocks: Sequence[int]) -> Traffic:
    """Every rank gets the block of every other.

    Args:
        cluster: the ranks.
        blocks: bytes that each rank begins with.
    """
    ranks = cluster.ranks
    holds = [{rank} for rank in range(ranks)]

    def block_of(rank: int, number: int) -> int:
        return (rank - number) % ranks

    def move(number: int) -> None:
        moving = [block_of(rank, number) for rank in range(ranks)]
        for rank, block in enumerate(moving):
            assert block in holds[rank], "a rank sends what it does not hold"
        for rank, block in enumerate(moving):
            holds[(rank + 1) % ranks].add(block)

    traffic = _played(cluster, [[blocks[block_of(r, t)] for r in range(ranks)] for t in range(ranks - 1)], move)
    assert all(len(held) == ranks for held in holds), "a block did not arrive"
    return traffic


def reduce_scatter(cluster: Cluster, blocks: Sequence[int]) -> Traffic:
    """Every rank gets its own block, summed over all ranks.

    Args:
        cluster: the ranks.
        blocks: bytes of the block that belongs to each rank; every rank begins with a summand of all.
    """
    ranks = cluster.ranks
    summands = [[{rank} for _ in range(ranks)] for rank in range(ranks)]  # of each rank, by block: whose are in it

    def block_of(rank: int, number: int) -> int:
        return (rank - number - 1) % ranks

    def move(number: int) -> None:
        moving = [(block_of(rank, number), set(summands[rank][block_of(rank, number)])) for rank in range(ranks)]
        for rank, (block, summed) in enumerate(moving):
            here = summands[(rank + 1) % ranks][block]
            assert not here & summed, "a summand would count twice"
            here |= summed

    traffic = _played(cluster, [[blocks[block_of(r, t)] for r in range(ranks)] for t in range(ranks - 1)], move)
    assert all(len(summands[rank][rank]) == ranks for rank in range(ranks)), "a summand is missing"
    return traffic


def all_reduce(cluster: Cluster, size: int) -> Traffic:
    """Every rank gets the sum over all ranks of so many bytes: sums of parts, then the parts to all."""
    parts = even(size, cluster.ranks)
    return reduce_scatter(cluster, parts) + all_gather(cluster, parts)


def rotation(cluster: Cluster, blocks: Sequence[int], *, home: bool = True) -> Traffic:
    """Every block visits every rank.

    Args:
        cluster: the ranks.
        blocks: bytes of the block of each rank.
        home: it returns to where it began, too.
    """
    ranks = cluster.ranks
    at = list(range(ranks))  # the block that each rank has
    seen = [{rank} for rank in range(ranks)]

    def move(number: int) -> None:
        at[:] = [at[rank - 1] for rank in range(ranks)]
        for rank, block in enumerate(at):
            seen[rank].add(block)

    rounds = ranks if home else ranks - 1
    traffic = _played(cluster, [[blocks[(r - t) % ranks] for r in range(ranks)] for t in range(rounds)], move)
    assert not home or at == list(range(ranks)), "a block is not at home"
    assert all(len(s) == ranks for s in seen), "a rank missed a block"
    return traffic


def _played(cluster: Cluster, rounds: Sequence[Sequence[int]], move: Callable[[int], None]) -> Traffic:
    """Rounds in which every rank sends so many bytes to the next."""
    sent, received, seconds = [0] * cluster.ranks, [0] * cluster.ranks, 0.0
    for number, counts in enumerate(rounds):
        move(number)
        for rank, count in enumerate(counts):
            sent[rank] += count
            received[(rank + 1) % cluster.ranks] += count
        seconds += cluster.seconds(counts)
    return Traffic(tuple(sent), tuple(received), len(rounds), seconds)
