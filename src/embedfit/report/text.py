"""Runs and diagnoses for the terminal. Colour only repeats what the words say; rich drops it under NO_COLOR."""

from __future__ import annotations

__all__ = ["diagnosis_view", "run_view"]

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from embedfit.doctor import Diagnosis
from embedfit.report import words
from embedfit.report.brought import negatives_line
from embedfit.report.figures import result_bars
from embedfit.run import Run

STYLES = {
    r"^doctor: ILL\b|^  (issue|failed)\b": "bold red",
    r"^doctor: CANNOT-TELL\b|^  watch\b": "bold yellow",
    r"^doctor: HEALTHY\b": "bold green",
    r"(?<=do: ).*": "bold",
    r"^  (also|fine|not run|no data|cost)\b.*": "dim",
}


def run_view(run: Run) -> RenderableType:
    """What was trained, how well it does beside the baselines, and where the loss stands."""
    parts: list[RenderableType] = [Text(words.trained(run))]
    bars = result_bars(run)
    if bars:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_row("", Text(str(run.facts["metric"])), Text("95 % interval", style="dim"))
        for bar in bars:
            interval = f"{bar.low:.3f} to {bar.high:.3f}" if bar.low is not None and bar.high is not None else ""
            style = "bold" if bar.role == "model" else ""
            table.add_row(Text(bar.label), Text(f"{bar.value:.3f}", style=style), Text(interval, style="dim"))
        parts.append(table)
    parts.append(Text(words.verdict(run), style="bold"))
    rest = [
        words.refusal_line(run),
        words.loss_line(run),
        words.ended(run),
        negatives_line(run),
        words.left_out_line(run),
    ]
    parts += [Text(line, style="dim") for line in rest if line]
    return Group(*parts)


def diagnosis_view(diagnosis: Diagnosis) -> RenderableType:
    """The diagnosis as it prints, with the outcomes in colour."""
    text = Text(str(diagnosis))
    for pattern, style in STYLES.items():
        text.highlight_regex(f"(?m){pattern}", style)
    return text
