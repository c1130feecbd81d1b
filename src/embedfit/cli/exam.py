"""The demo's exam: rows of other wording, and messages without an answer."""

from __future__ import annotations

__all__ = ["Exam", "add_exam", "sit"]

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from embedfit import report
from embedfit import run as runs
from embedfit.api import TrainedRun, measure
from embedfit.doctor import diagnose
from embedfit.evaluate.classify import Answers, rejection
from embedfit.pairs import Pairs, normalise


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """What is asked.

    Attributes:
        rows: questions that have an answer.
        out_of_scope: messages that have none.
    """

    rows: Pairs
    out_of_scope: list[str]


def sit(run: TrainedRun, exam: Exam, *, known: Pairs) -> dict[str, float]:
    """Retrieval metrics beside the lexical baseline, and what the run's threshold is worth."""
    found = measure(run, exam.rows, known=known)
    threshold = run.catalogue.threshold
    # without a right answer on the held-out rows there is no threshold, and everything is answered
    return {**found.values, **rejection(answers_of(run, exam), -np.inf if threshold is None else threshold)}


def answers_of(run: TrainedRun, exam: Exam) -> Answers:
    """The first answer of the run to every question of the exam."""
    catalogue = run.catalogue
    number = {normalise(text): i for i, text in enumerate(catalogue.candidates)}
    asked = [*exam.rows.table["query"].to_list(), *exam.out_of_scope]
    first = [found[0] for found in catalogue.find(run.encode(asked), 1)]
    expected = [number[normalise(text)] for text in exam.rows.table["positive"].to_list()]
    return Answers(
        score=np.array([answer.score for answer in first]),
        predicted=np.array([number[normalise(answer.document)] for answer in first]),
        label=np.array([*expected, *[-1] * len(exam.out_of_scope)]),
    )


def add_exam(run: TrainedRun, results: Mapping[str, Mapping[str, float]]) -> None:
    """Put the results into the run's evaluation, as `exam/<language>/<metric>`, and draw its report again."""
    added = {f"exam/{language}/{name}": float(v) for language, values in results.items() for name, v in values.items()}
    record = replace(run.record, evaluation={**run.evaluation, **added})
    runs.write_json(run.folder / "evaluation.json", record.evaluation)
    report.write(record, diagnose(record), run.folder / "report.html")
