from __future__ import annotations

import io
from dataclasses import replace

import pytest
from example_run import example_run
from rich.console import Console

from embedfit.doctor import diagnose
from embedfit.recipe import patch
from embedfit.report import diagnosis_view, run_view
from embedfit.run import Run


def printed(view, *, colour: bool) -> str:
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=colour, color_system="standard" if colour else None).print(view)
    return out.getvalue()


def test_a_run_is_summed_up_with_its_baselines_and_its_loss():
    text = printed(run_view(example_run()), colour=False)
    for words in ("'gru' tower", "0.887", "0.867 to 0.905", "lexical baseline", "0.810", "svm", "beyond both intervals",
                  "chance 4.34", "weights of step 1,467", "2 rows were left out"):  # fmt: skip
        assert words in text


def test_an_empty_run_is_summed_up_honestly():
    text = printed(run_view(Run()), colour=False)
    assert "nothing can be said of its quality" in text
    assert "left out" not in text


def test_what_negatives_cost_is_said_and_that_a_search_left_none():
    run = example_run()
    assert "Negatives" not in printed(run_view(run), colour=False)
    costs = {"negatives.seconds": 2.25, "negatives.searches": 3, "negatives.megabytes": 0.4, "negatives.kept": 0.62}
    mined = replace(run, recipe=patch(run.recipe, {"negatives.kind": "mined"}), facts={**run.facts, **costs})
    text = printed(run_view(mined), colour=False)
    assert "Negatives mined: 3 searches in 2.25 s, 0.4 MB, 0.62 of the documents looked at left" in text
    none = replace(mined, facts={**mined.facts, "negatives.kept": 0.0})
    assert "the last search left none: lower negatives.skip" in printed(run_view(none), colour=False)


def test_a_diagnosis_is_printed_as_it_is():
    run = replace(example_run(), evaluation={})
    diagnosis = diagnose(run)
    assert printed(diagnosis_view(diagnosis), colour=False).splitlines() == str(diagnosis).splitlines()


def test_colour_says_nothing_that_words_do_not(monkeypatch: pytest.MonkeyPatch):
    diagnosis = diagnose(example_run())
    coloured = printed(diagnosis_view(diagnosis), colour=True)
    assert "\x1b[1;32m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in printed(diagnosis_view(diagnosis), colour=True)
    assert "\x1b[1;32m" not in printed(diagnosis_view(diagnosis), colour=True)


def test_brackets_in_names_are_no_markup():
    run = replace(example_run(), facts={"metric": "[bold]x[/bold]"}, evaluation={"[bold]x[/bold]": 0.5})
    assert "[bold]x[/bold]" in printed(run_view(run), colour=False)
