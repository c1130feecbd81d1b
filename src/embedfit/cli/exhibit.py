"""The demo: train on the embedded data set, sit the exam, search three times."""

from __future__ import annotations

__all__ = ["exhibit"]

import shlex
from dataclasses import replace
from pathlib import Path

import polars as pl
from rich.table import Table
from rich.text import Text

from embedfit import job
from embedfit.api import TrainedRun, load_run
from embedfit.cli.exam import Exam, add_exam, sit
from embedfit.cli.interrupt import kept
from embedfit.cli.results import show_run
from embedfit.cli.searching import find
from embedfit.cli.sources import Opened, free_folder
from embedfit.cli.terminal import say, show
from embedfit.cli.training import tell_rows, watched
from embedfit.data import read
from embedfit.data.demo import demo
from embedfit.recipe import Recipe, from_toml, patch

SEARCHES = (
    "the battery will not go above 80 percent any more",
    "还没发货，我不想要了怎么办",
    "how do I bake sourdough bread",
)
LANGUAGES = {"en": "English", "zh": "Chinese"}


def exhibit(out: Path, model: str | None) -> None:
    """Run the demo and print what comes out.

    Args:
        out: folder of the run; where a finished run lies there, the next free name is taken.
        model: kind of tower; none: the default.
    """
    files = demo()
    change = {"data.files": [str(files / "questions.csv")]} | ({} if model is None else {"model.kind": model})
    recipe = patch(Recipe(), change)
    folder, resume = where(out, recipe)
    again = shlex.join(["embedfit", "demo", "--out", str(folder), *([] if model is None else ["--model", model])])
    outside = pl.read_csv(files / "out_of_scope.csv")
    with kept(folder, again):
        say("a support desk of e-bikes, English and Chinese: which standard question does a customer mean?")
        questions = read(recipe.data.files[0])
        rows = job.divide(questions, recipe.data.dev, seed=recipe.optim.seed)
        rows = replace(rows, out_of_scope=tuple(texts_of(outside, "dev")))
        tell_rows(rows)
        show_run(watched(rows, recipe, folder, resume=resume), with_places=False)
        run = load_run(folder)
        exams = {
            language: Exam(
                rows=read(pl.read_csv(files / "exam.csv").filter(pl.col("language") == language)),
                out_of_scope=texts_of(outside.filter(pl.col("language") == language), "test"),
            )
            for language in LANGUAGES
        }
        results = {language: sit(run, exam, known=rows.train) for language, exam in exams.items()}
        add_exam(run, results)
    show_exam(results)
    show_searches(run)
    go_on(folder)


def texts_of(table: pl.DataFrame, part: str) -> list[str]:
    """The out-of-scope texts of one part."""
    return table.filter(pl.col("split") == part)["question"].to_list()


def where(out: Path, recipe: Recipe) -> tuple[Path, bool]:
    """The folder of the run, and whether an unfinished demo with the same settings goes on there."""
    if not out.exists():
        return out, False
    written = out / "recipe.toml"
    if written.is_file() and not (out / "evaluation.json").exists() and from_toml(written) == recipe:
        say(f"{out} holds an unfinished demo: going on with it")
        return out, True
    if out.is_dir() and not any(out.iterdir()):
        return out, False
    folder = free_folder(out)
    say(f"{out} exists: this run goes to {folder}")
    return folder, False


def show_exam(results: dict[str, dict[str, float]]) -> None:
    """The exam by language, and what the threshold does there."""
    show("", Text("The exam: messages that share next to no word with any known one", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for head in (
        "",
        "questions",
        "recall@10",
        "95 % interval",
        "TF-IDF",
        "recall@1",
        "right above threshold",
        "refused",
    ):
        table.add_column(head, justify="right" if head else "left")
    for language, values in results.items():
        table.add_row(
            LANGUAGES[language],
            f"{values['queries']:,.0f}",
            Text(f"{values['recall@10']:.3f}", style="bold"),
            f"{values['recall@10/low']:.3f} to {values['recall@10/high']:.3f}",
            f"{values['lexical/recall@10']:.3f}",
            f"{values['recall@1']:.3f}",
            f"{values['in_scope_accuracy']:.3f}",
            f"{values['oos_recall']:.3f}",
        )
    threshold = next(iter(results.values()))["threshold"]
    show(table)
    words = (
        f"At the threshold {threshold:.3f}, chosen on held-out questions and other messages without an answer: share "
        "of the questions that are answered, and rightly; share of the messages without an answer that are refused."
    )
    show(Text(words, style="dim"))


def show_searches(run: TrainedRun) -> None:
    """Three searches, whatever they find."""
    for text in SEARCHES:
        found = find(Opened(run.model, run), text, k=3)
        show("", f"$ embedfit search {shlex.quote(str(run.folder))} {shlex.quote(text)} -k 3", *found.lines())
        if not found.answered:
            say(found.remark(), style="dim")


def go_on(folder: Path) -> None:
    """The commands to go on with."""
    name = shlex.quote(str(folder))
    commands = {
        "report": f"{name}/report.html (open it in a browser)",
        "diagnose": f"embedfit diagnose {name}",
        "search": f'embedfit search {name} "my front light flickers"',
        "own data": "embedfit audit YOUR.csv; embedfit train YOUR.csv",
    }
    show("", *(f"{word:10}{command}" for word, command in commands.items()))
