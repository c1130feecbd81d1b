"""Which programs are shown to the doctor, what is true of them, and which half they belong to."""

from __future__ import annotations

__all__ = ["Case", "every", "fines", "pairs", "singles"]

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.faults.fault import plant
from benchmarks.faults.parts import Parts, Script, builder
from benchmarks.faults.plant import FAULTS
from benchmarks.faults.plant.fine import FINE
from benchmarks.faults.worlds import CALIBRATION, WORLDS, world

TEST_SEED = 100  # seeds from here on were never used for calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One program.

    Attributes:
        world: a key of `worlds.WORLDS`.
        seed: what it is built with.
        faults: planted, as (name, level).
        fine: or the harmless oddity.
    """

    world: str
    seed: int = 0
    faults: tuple[tuple[str, int], ...] = ()
    fine: str = ""

    @property
    def key(self) -> str:
        """One line that names it."""
        planted = " + ".join(f"{name}:{level}" for name, level in self.faults) or self.fine or "healthy"
        return f"{self.world} | {planted} | {self.seed}"

    @property
    def healthy(self) -> Case:
        """The same world and seed with nothing planted."""
        return Case(world=self.world, seed=self.seed)

    @property
    def calibration(self) -> bool:
        """Whether limits may be set on it."""
        return self.world in CALIBRATION and self.seed < TEST_SEED

    def parts(self) -> Parts:
        """The pieces of the program."""
        healthy = world(self.world)
        if self.fine:
            return FINE[self.fine].plant(healthy)
        return plant(healthy, [(FAULTS[name], level) for name, level in self.faults])

    def build(self) -> Callable[..., Script]:
        """What a doctor is handed."""
        make, first = builder(self.parts()), self.seed

        def build(seed: int = 0) -> Script:
            return make(first + seed)

        return build


def singles(worlds: list[str], levels: tuple[int, ...], seed: int) -> Iterator[Case]:
    """Every fault that fits, alone."""
    for name in worlds:
        for fault in FAULTS.values():
            if fault.fits(world(name)):
                for level in levels:
                    yield Case(world=name, seed=seed, faults=((fault.name, level),))


def fines(worlds: list[str], seed: int) -> Iterator[Case]:
    """Every harmless oddity that fits."""
    for name in worlds:
        for fine in FINE.values():
            if fine.fits(world(name)):
                yield Case(world=name, seed=seed, fine=fine.name)


def pairs(worlds: list[str], count: int, seed: int) -> Iterator[Case]:
    """Two faults in different components at the middle level, drawn once and for all."""
    chance = random.Random(2026)
    for i in range(count):
        name = worlds[i % len(worlds)]
        fitting = [fault for fault in FAULTS.values() if fault.fits(world(name)) and fault.components[0] != "evaluation"]
        while True:
            one, two = chance.sample(fitting, 2)
            if not set(one.components) & set(two.components):
                break
        yield Case(world=name, seed=seed, faults=((one.name, 1), (two.name, 1)))


def every(worlds: list[str] | None = None, *, levels: tuple[int, ...] = (1, 0, 2), seed: int | None = None) -> list[Case]:
    """All cases of these worlds; seeds of the worlds kept for testing are test seeds."""
    found: list[Case] = []
    for name in worlds or list(WORLDS):
        own = seed if seed is not None else (0 if name in CALIBRATION else TEST_SEED)
        found += [*fines([name], own), *pairs([name], 8, own), *singles([name], levels, own)]
    return found
