"""EVA: whether the held-out metric says what it seems to say."""

from __future__ import annotations

__all__ = ["BelowLexical", "Overfitting", "TooFewDevQueries"]

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, metric_key, number
from embedfit.run import Run


@dataclass(frozen=True)
class BelowLexical(Check):
    """The trained model is worse than counting words.

    ## What it measures
    The main held-out metric beside that of a lexical baseline (TF-IDF on characters and words) on the same queries. A
    model whose 95 % interval lies wholly below the baseline's is worth a look.

    ## Why it hurts
    The baseline takes a second and no training. A model below it has not learned what the words alone say.

    ## What to do
    With few rows, start from a pretrained encoder (`model.kind`). With many, look at the other findings: something
    keeps the model from learning. Until then, serve the baseline.

    ## How to confirm
    Evaluate the pretrained encoder without training: if it beats the baseline, start there.

    ## References
    - Thakur et al. 2021 (BEIR), https://arxiv.org/abs/2104.08663, section 5
    """

    code = "EVA001"
    name = "below-lexical"
    component = "architecture"
    needs = ("<metric>", "<metric>/high", "lexical/<metric>", "lexical/<metric>/low")

    def examine(self, run: Run) -> Finding:
        """Compare the two intervals."""
        value, high = number(run, "<metric>"), number(run, "<metric>/high")
        lexical, low = number(run, "lexical/<metric>"), number(run, "lexical/<metric>/low")
        name = metric_key("<metric>", run)
        statistic = Statistic(name=f"{name}, upper end", value=high, limit=low, n=int(find(run, "queries") or 0))
        symptom = f"{name} is {value:.3f}, the lexical baseline's {lexical:.3f}"
        if high >= low:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        cure = Prescription(why="start from a pretrained encoder, with --model; until then the baseline serves better")
        return self.finding(Outcome.WATCH, f"{symptom}: beyond both intervals", statistic, cure)


@dataclass(frozen=True)
class Overfitting(Check):
    """The held-out metric falls while the training loss falls.

    ## What it measures
    How far the last held-out metric lies below its best, while the training loss fell on after the best. More than
    {drop} is worth a look.

    ## Why it hurts
    From there on the model learns the training rows by heart. embedfit keeps the best weights; the later steps were
    lost time, and a model that overfits early has not used its data.

    ## What to do
    More data or more negatives help most. Otherwise more dropout ({dropout}), or fewer steps.

    ## How to confirm
    Train with more dropout for as many steps: the best held-out metric rises, or falls off later.

    ## References
    - Prechelt 1998, Early stopping, but when?, https://doi.org/10.1007/3-540-49430-8_3
    """

    code = "EVA002"
    name = "overfitting"
    component = "regularisation"
    needs = ("loss", "dev/<metric>")
    advisory = True

    drop: float = 0.02
    dropout: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Compare the last held-out metric with the best, and the training loss after it with that before."""
        key = metric_key("dev/<metric>", run)
        readings = [(step, value) for step, value in run.history[key] if math.isfinite(value)]
        if len(readings) < 3:
            raise NotApplicableError("fewer than three evaluations: no trend can be read")
        step, best = max(readings, key=lambda pair: pair[1])
        value = best - readings[-1][1]
        statistic = Statistic(
            name="fall of the held-out metric from its best", value=value, limit=self.drop, n=len(readings)
        )
        name = metric_key("<metric>", run)
        if value <= self.drop:
            return self.finding(Outcome.CLEAR, f"{name} stays within {self.drop} of its best", statistic)
        if not _still_falling([(s, v) for s, v in run.history["loss"] if math.isfinite(v)], step):
            return self.finding(
                Outcome.CLEAR, f"{name} fell by {value:.3f}, but so did learning: the loss fell no further", statistic
            )
        symptom = f"{name} fell by {value:.3f} after step {step} while the training loss fell on"
        cure = Prescription(why="hold the model back", change=self._change(run))
        return self.finding(Outcome.WATCH, symptom, statistic, cure)

    def _change(self, run: Run) -> dict[str, Any]:
        given = run.recipe.model.dropout
        return {} if given != "auto" and given >= self.dropout else {"model.dropout": self.dropout}


@dataclass(frozen=True)
class TooFewDevQueries(Check):
    """The held-out metric is too uncertain to compare models by.

    ## What it measures
    The width of the metric's 95 % interval. Above {width} it is worth a look.

    ## Why it hurts
    Two models that differ by less than the interval cannot be told apart; stopping and choosing by such a metric is
    choosing by luck.

    ## What to do
    Hold out more queries: half the width takes four times as many. The prescription is the number that gives {width},
    where that is no more than {share:.0%} of the rows.

    ## How to confirm
    Evaluate on the larger held-out set; the interval has the width that was asked for.

    ## References
    - Card et al. 2020, With little power comes great responsibility, https://arxiv.org/abs/2010.06595
    """

    code = "EVA003"
    name = "too-few-dev-queries"
    component = "evaluation"
    needs = ("<metric>/low", "<metric>/high", "queries")
    advisory = True

    width: float = 0.1
    share: float = 0.3

    def examine(self, run: Run) -> Finding:
        """Compare the width of the interval with the limit."""
        value, queries = number(run, "<metric>/high") - number(run, "<metric>/low"), int(number(run, "queries"))
        name = metric_key("<metric>", run)
        statistic = Statistic(name="width of the 95 % interval", value=value, limit=self.width, n=queries)
        symptom = f"with {queries:,} held-out queries the interval of {name} is {value:.3f} wide"
        if value <= self.width:
            return self.finding(Outcome.CLEAR, symptom, statistic)
        wanted, rows = math.ceil(queries * (value / self.width) ** 2), find(run, "data.rows")
        fits = rows is not None and wanted <= self.share * rows
        why = (
            f"hold out about {wanted:,} queries"
            if fits
            else f"about {wanted:,} queries would do: collect more, or compare with care"
        )
        change = {"data.dev": math.ceil(1000 * wanted / rows) / 1000} if fits else {}
        return self.finding(Outcome.WATCH, symptom, statistic, Prescription(why=why, change=change))


def _still_falling(losses: list[tuple[int, float]], best: int) -> bool:
    """Whether the loss after step `best` lies below that of as many readings before it."""
    after = [value for step, value in losses if step > best]
    before = [value for step, value in losses if step <= best][-max(1, len(after)) :]
    return bool(after) and bool(before) and median(after[-max(1, len(after) // 2) :]) < median(before)
