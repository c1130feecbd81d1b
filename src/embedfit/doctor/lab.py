"""Where experiments are run: fresh programs, common random numbers, a clock, and effects with intervals."""

from __future__ import annotations

__all__ = ["CONTROL", "Lab"]

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import mean

from scipy.stats import t as student

from embedfit.doctor.arms import PARTS, TRUSTED, WATCHED, Arm, Trial, train
from embedfit.doctor.check import Effect
from embedfit.doctor.clock import Stopwatch
from embedfit.doctor.gauge import Gauge
from embedfit.doctor.material import Material
from embedfit.doctor.program import Build, Evaluates
from embedfit.probes.state import same_random_numbers

CONTROL = Arm(author=frozenset(PARTS), name=WATCHED)

RATES = (1e-4, 5e-4, 3e-3, 1.5e-2)
FINE_TUNING_RATES = (2e-5, 1e-4, 5e-4)
ARMS = 11
"""Runs that the budget is divided by: control, reference, rates, parts, cures."""

PRIOR_SPREAD, PRIOR_WEIGHT = 0.03, 3.0
"""Between two seeds the same difference of arms varies by some hundredths of the metric; worth so many replicates."""


@dataclass
class Lab:
    """Experiments on one program.

    Attributes:
        build: makes it.
        material: its rows.
        gauge: the metric.
        steps: of every arm.
        planned: steps that its author plans.
        clock: of the budget.
        deadline: its seconds at which the budget is spent.
        rate: learning rate of the reference.
        trials: what was run, by arm and seed.
        taken: training steps so far.
        idle: parts that are as in the reference already.
    """

    build: Build
    material: Material
    gauge: Gauge
    steps: int
    planned: int
    clock: Stopwatch
    deadline: float
    rate: float = 3e-3
    trials: dict[tuple[Arm, int], Trial] = field(default_factory=dict)
    taken: int = 0
    idle: frozenset[str] = frozenset()

    @property
    def gold(self) -> Arm:
        """The reference."""
        return Arm(author=self.idle, name=TRUSTED)

    def knocked_in(self, part: str) -> Arm:
        """The reference with one part of the author's."""
        return Arm(author=self.idle | {part})

    def knocked_out(self, *parts: str) -> Arm:
        """The author's program with parts of the reference."""
        return Arm(author=CONTROL.author - set(parts))

    @classmethod
    def open(cls, build: Build, material: Material, budget: float, clock: Stopwatch) -> Lab:
        """A lab whose arms are as long as the budget allows, and no longer than the author's own run."""
        with same_random_numbers(0):
            program = build(seed=0)
        gauge = Gauge(material=material, has_metric=isinstance(program, Evaluates))
        lab = cls(build, material, gauge, 8, int(program.steps), clock, budget)
        timed = lab.run(CONTROL)
        lab.trials.clear()
        first = 0.0  # what is computed but once
        if gauge.memory.modules:
            cold, timed = timed, lab.run(CONTROL)
            lab.trials.clear()
            rows = 0 if material.pool is None else material.pool.rows
            first = max(0.0, cold.step_seconds - timed.step_seconds) * rows / material.size
        # an arm is measured once, the author's program at its start as well
        fixed = max(0.0, timed.seconds - timed.step_seconds * len(timed.losses)) / 2
        affordable = int(((lab.left * 0.9 - first) / ARMS - fixed) / max(1e-5, timed.step_seconds))
        lab.steps = max(20, min(lab.planned, affordable))
        return lab

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.deadline - self.clock.seconds

    def run(self, arm: Arm, seed: int = 0, steps: int | None = None) -> Trial:
        """One arm with one seed; asked again, the same trial.

        An exchange that the program cannot bear makes a broken trial without a metric. What the program raises as its
        author wrote it is raised.
        """
        key = (arm, seed)
        if key not in self.trials:
            try:
                self.trials[key] = self._trained(arm, seed, steps or self.steps)
            except Exception as error:  # a stranger's code, in company that its author never saw
                if arm == CONTROL:
                    raise
                self.trials[key] = Trial.failed(error)
            self.taken += len(self.trials[key].losses)
        return self.trials[key]

    def _trained(self, arm: Arm, seed: int, steps: int) -> Trial:
        with same_random_numbers(seed):
            program = self.build(seed=seed)
            return train(
                program, replace(arm, rate=arm.rate or self.rate), self.gauge,
                steps=steps, seed=seed, clock=self.clock, deadline=self.deadline + 5,
            )  # fmt: skip

    def choose_rate(self, author: float | None = None) -> None:
        """Find the learning rate of the reference by a ladder of short runs; the author's own rate is among them."""
        first = self.run(CONTROL).start
        tuned = first > 0.2 and first > 0.3 * self.run(CONTROL).metric
        ladder = list(FINE_TUNING_RATES if tuned else RATES)
        if author is not None and all(abs(math.log(author / rate)) > math.log(2) for rate in ladder) and author > 0:
            ladder.append(author)
        short = max(20, self.steps // 3)
        found = {}
        for rate in ladder:
            trial = self.run(replace(self.gold, rate=rate, name="ladder"), steps=short)
            value = trial.probe if math.isfinite(trial.probe) else trial.metric
            found[rate] = value if math.isfinite(value) else -math.inf
        self.rate = max(found, key=lambda rate: found[rate])

    def effect(self, arm: Arm, against: Arm, seeds: Sequence[int]) -> Effect:
        """Difference of two arms on the same seeds, as a share of the better one's metric.

        The interval is that of Student's t for a spread which blends the seeds seen with an assumed one
        (`PRIOR_SPREAD`, worth `PRIOR_WEIGHT` seeds): one seed alone would have none.
        """
        pairs = [(self.run(arm, seed).metric, self.run(against, seed).metric) for seed in seeds]
        scale = max(1e-9, max(mean(abs(x) for x, _ in pairs), mean(abs(y) for _, y in pairs)))
        shares = [(x - y) / scale for x, y in pairs]
        centre = mean(shares)
        squares = sum((s - centre) ** 2 for s in shares) + PRIOR_WEIGHT * PRIOR_SPREAD**2
        freedom = len(shares) - 1 + PRIOR_WEIGHT
        half = float(student.ppf(0.975, freedom)) * math.sqrt(squares / freedom / len(shares))
        return Effect(relative=centre, low=centre - half, high=centre + half)
