"""Row: how long ours takes to the quality at which sentence-transformers' recipe ends.

Their recipe is the one their documentation gives for texts with classes: pairs of texts of one class, the in-batch loss
(MultipleNegativesRankingLoss), no duplicates in a batch, a tenth of warm-up, linear decay; and beside it the triplet
loss for single texts with classes. Learning rate and length are tuned as `RECIPES` lists them; the best on held-out
rows counts, and of its tuning only its own run. Ours is `embedfit.fit` with its defaults, on the same MiniLM and from
scratch, with its learning-rate test and its held-out evaluations inside the time.

Both are judged by the same function on the test rows while the clock stands still: class of the nearest known texts.
During our training that is the class of the nearest prototype, which needs fewer texts and is no better.
"""

from __future__ import annotations

__all__ = ["RECIPES", "first_at", "rows"]

from typing import Any

from benchmarks.speed.measure import Comparison, Options, Reading

DATA = ("banking77", "hwu64")
RECIPES: tuple[dict[str, Any], ...] = (
    {"loss": "pairs", "learning_rate": 2e-5, "epochs": 1},
    {"loss": "pairs", "learning_rate": 5e-5, "epochs": 1},
    {"loss": "pairs", "learning_rate": 1e-4, "epochs": 1},
    {"loss": "pairs", "learning_rate": 5e-5, "epochs": 3},
    {"loss": "pairs", "learning_rate": 1e-4, "epochs": 3},
    {"loss": "triplets", "learning_rate": 5e-5, "epochs": 3},
)
OURS = {"the same MiniLM": "minilm", "from scratch": "auto"}
WANTED = 0.2


def rows(options: Options) -> list[Comparison]:
    """Both data sets; without them, the embedded data in the quick form."""
    lines = []
    for data in ("demo",) if options.quick else DATA:
        lines += _rows(data, options)
    return lines


def _rows(data: str, options: Options) -> list[Comparison]:
    common = {"data": data, "quick": options.quick}
    tried = [
        (
            recipe,
            options.play("to_quality:theirs", **common, **recipe),
        )
        for recipe in (RECIPES[:1] if options.quick else RECIPES)
    ]
    recipe, theirs = max(tried, key=lambda pair: pair[1].facts["dev"])
    goal = theirs.facts["curve"][-1][1]
    lines = []
    for name, model in OURS.items():
        ours = options.play("to_quality:ours", **common, model=model)
        lines += _lines(data, name, ours, theirs, goal)
        lines[-1].setting["their recipe"] = recipe  # type: ignore[index]
        lines[-1].setting["their tries (held out, seconds)"] = [  # type: ignore[index]
            (tuple(r.values()), round(t.facts["dev"], 4), round(t.wall)) for r, t in tried
        ]
    return lines


def _lines(data: str, name: str, ours: Reading, theirs: Reading, goal: float) -> list[Comparison]:
    reached = first_at(ours.facts["curve"], goal)
    setting = {
        "accuracy at their end": round(goal, 4),
        "theirs first had it after": f"{first_at(theirs.facts['curve'], goal):.0f} s",
        "our accuracy at the end": f"{ours.facts['final']:.4f} after {ours.wall:.0f} s",
        "batch": "64 theirs, default ours",
    }
    what = f"time to quality, {data}, ours {name}"
    against = "sentence-transformers 6.2, tuned recipe, MiniLM"
    if reached is None:
        return [
            Comparison(
                row="time_to_quality", what=f"{what}: their accuracy is not reached", unit="accuracy",
                ours=[ours.facts["final"]], theirs=[goal], against=against, wanted=1.0, setting=setting,
            )
        ]  # fmt: skip
    return [
        Comparison(
            row="time_to_quality", what=what, unit="s", ours=[max(reached, 0.1)], theirs=[theirs.wall],
            against=against, wanted=WANTED if name != "from scratch" else None, least=False, setting=setting,
        )
    ]  # fmt: skip


def first_at(curve: list[tuple[float, float]], goal: float) -> float | None:
    """Seconds after which a curve of (seconds, accuracy) is at the goal for the first time; None if it never is."""
    return next((seconds for seconds, value in curve if value >= goal), None)
