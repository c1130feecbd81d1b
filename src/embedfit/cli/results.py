"""Results as text and as plain values."""

from __future__ import annotations

__all__ = ["comparison_table", "metrics_table", "places", "result", "show_run"]

import shlex
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from embedfit.cli.measuring import Contest
from embedfit.cli.terminal import show
from embedfit.evaluate.compare import shown_p
from embedfit.run import Run

BESIDE = {"lexical": "TF-IDF", "svm": "SVM", "fused": "with TF-IDF"}


def metrics_table(values: Mapping[str, Any], main: str) -> Table:
    """Every metric of the model with its interval, beside the baselines; the one that decides first."""
    names = [main, *(k for k in values if k != main and f"{k}/low" in values and "/" not in k)]
    beside = [b for b in BESIDE if f"{b}/{main}" in values]
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for head in ("metric", "model", "95 % interval", *(BESIDE[b] for b in beside)):
        table.add_column(head, justify="left" if head == "metric" else "right", no_wrap=True)
    for name in names:
        interval = f"{values[f'{name}/low']:.3f} to {values[f'{name}/high']:.3f}"
        others = [f"{values[f'{b}/{name}']:.3f}" if f"{b}/{name}" in values else "" for b in beside]
        table.add_row(name, Text(f"{values[name]:.3f}", style="bold"), interval, *others)
    return table


def comparison_table(contest: Contest) -> Table:
    """Every metric of two models beside each other; the one that decides first."""
    first, second = contest.names
    words = contest.evaluations[0].values
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for head in ("metric", first, second, "difference", "95 % interval", "p", "TF-IDF"):
        table.add_column(head, justify="left" if head == "metric" else "right", no_wrap=True)
    for name, (a, b) in contest.comparison.values.items():
        d = contest.comparison.differences[name]
        lexical = words.get(f"lexical/{name}")
        table.add_row(
            name,
            f"{a:.3f}",
            f"{b:.3f}",
            Text(f"{d.value:+.3f}", style="bold"),
            f"{d.low:+.3f} to {d.high:+.3f}",
            shown_p(d),
            "" if lexical is None else f"{lexical:.3f}",
        )
    return table


def show_run(run: Run, *, with_places: bool = True) -> None:
    """What was trained, how good it is, and where things are."""
    from embedfit.report import words
    from embedfit.report.brought import negatives_line

    show("", words.trained(run))
    metric = str(run.facts["metric"])
    if metric in run.evaluation:
        show("", metrics_table(run.evaluation, metric))
    show("", Text(words.verdict(run), style="bold"))
    notes = (
        words.refusal_line(run),
        words.loss_line(run),
        words.ended(run),
        negatives_line(run),
        words.left_out_line(run),
    )
    show(Text(" ".join(note for note in notes if note), style="dim"))
    if with_places:
        show("", places(run))


def places(run: Run) -> Text:
    """Where the parts of a run lie, and what to do with them."""
    assert run.folder is not None
    folder = shlex.quote(str(run.folder))
    lines = [
        f"model     {folder}/model",
        f"report    {folder}/report.html",
        f'search    embedfit search {folder} "..."' if (run.folder / "catalogue").is_dir() else "",
        f"diagnose  embedfit diagnose {folder}",
    ]
    return Text("\n".join(line for line in lines if line))


def result(run: Run) -> dict[str, Any]:
    """A finished run for programs."""
    assert run.folder is not None
    metric = run.facts["metric"]
    return {
        "run": str(run.folder),
        "model": str(run.folder / "model"),
        "report": str(run.folder / "report.html"),
        "metric": metric,
        "value": run.evaluation.get(metric),
        "verdict": run.evaluation["verdict"],
        "evaluation": {k: v for k, v in run.evaluation.items() if k not in ("metric", "verdict")},
        "facts": dict(run.facts),
    }
