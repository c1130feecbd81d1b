"""Which programs are shown to the doctor, what is true of them, and which half they belong to."""

from __future__ import annotations

__all__ = ["Case", "Truth", "every", "fines", "foreign", "pairs", "singles"]

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from benchmarks.faults.causes import CODES
from benchmarks.faults.fault import LEVELS, plant
from benchmarks.faults.loops import LOOPS, REAL
from benchmarks.faults.parts import Parts, builder
from benchmarks.faults.plant import FAULTS
from benchmarks.faults.plant.fine import FINE
from benchmarks.faults.worlds import CALIBRATION, WORLDS, world

TEST_SEED = 100  # seeds from here on were never used for calibration


class Truth(NamedTuple):
    """What a doctor should say of one fault: any of the components, any of the codes."""

    components: tuple[str, ...]
    cause: str

    @property
    def codes(self) -> frozenset[str]:
        """Checks that name this cause."""
        return CODES[self.cause]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One program.

    Attributes:
        world: a key of `worlds.WORLDS`, or "loop" or "thread" for a program of `loops`.
        seed: what it is built with.
        faults: planted, as (name, level).
        fine: or the harmless oddity.
        loop: the name of the foreign program.
        cured: its healthy twin.
    """

    world: str
    seed: int = 0
    faults: tuple[tuple[str, int], ...] = ()
    fine: str = ""
    loop: str = ""
    cured: bool = False

    @property
    def key(self) -> str:
        """One line that names it."""
        if self.loop:
            return f"{self.world} | {self.loop}{', cured' if self.cured else ''} | {self.seed}"
        planted = " + ".join(f"{name}:{level}" for name, level in self.faults) or self.fine or "healthy"
        return f"{self.world} | {planted} | {self.seed}"

    @property
    def healthy(self) -> Case:
        """The same world and seed with nothing planted."""
        return replace(self, cured=True) if self.loop else Case(world=self.world, seed=self.seed)

    @property
    def truth(self) -> tuple[Truth, ...]:
        """What is wrong with it; nothing where it is healthy."""
        if self.loop:
            found = {**LOOPS, **REAL}[self.loop]
            return (Truth(found.components, found.cause),) if found.cause and not self.cured else ()
        return tuple(Truth(FAULTS[name].components, FAULTS[name].cause) for name, _ in self.faults)

    @property
    def calibration(self) -> bool:
        """Whether limits may be set on it."""
        return self.world in CALIBRATION and self.seed < TEST_SEED

    @property
    def alone(self) -> tuple[Case, ...]:
        """Each of its faults without the others."""
        return tuple(replace(self, faults=(fault,)) for fault in self.faults) if len(self.faults) > 1 else ()

    def parts(self) -> Parts:
        """The pieces of the program."""
        healthy = world(self.world)
        if self.fine:
            return FINE[self.fine].plant(healthy)
        return plant(healthy, [(FAULTS[name], level) for name, level in self.faults])

    def build(self) -> Callable[..., Any]:
        """What a doctor is handed."""
        first = self.seed
        if self.loop:
            found = {**LOOPS, **REAL}[self.loop]
            make = found.healthy if self.cured else found.build
        else:
            make = builder(self.parts())

        def build(seed: int = 0) -> Any:
            return make(first + seed)

        return build


def singles(worlds: list[str], levels: tuple[int, ...], seed: int) -> Iterator[Case]:
    """Every fault that fits, alone; without levels, at one that changes from world to world and fault to fault."""
    for name in worlds:
        place = list(WORLDS).index(name)
        for i, fault in enumerate(FAULTS.values()):
            if fault.fits(world(name)):
                for level in levels or ((i + place) % len(LEVELS),):
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
        fitting = [
            fault for fault in FAULTS.values() if fault.fits(world(name)) and fault.components[0] != "evaluation"
        ]
        while True:
            one, two = chance.sample(fitting, 2)
            if not set(one.components) & set(two.components):
                break
        yield Case(world=name, seed=seed, faults=((one.name, 1), (two.name, 1)))


def foreign(seed: int = TEST_SEED) -> Iterator[Case]:
    """Loops in the style of tutorials, and public threads."""
    for name in LOOPS:
        yield Case(world="loop", seed=seed, loop=name)
    for name in REAL:
        yield Case(world="thread", seed=seed, loop=name)


def every(worlds: list[str] | None = None, *, levels: tuple[int, ...] = (), seed: int | None = None) -> list[Case]:
    """All cases of these worlds: about two in five have nothing wrong.

    Args:
        worlds: keys of `WORLDS`, "loop", "thread"; all of them by default.
        levels: severities of single faults; by default one of the three, in turn.
        seed: of all of them; by default 0 for the worlds of calibration, test seeds for the others.
    """
    found: list[Case] = []
    for name in worlds or [*WORLDS, "loop", "thread"]:
        if name not in WORLDS:
            found += [case for case in foreign() if case.world == name]
            continue
        own = seed if seed is not None else (0 if name in CALIBRATION else TEST_SEED)
        found += [*fines([name], own), *fines([name], own + 1), *singles([name], levels, own), *pairs([name], 8, own)]
    return found
