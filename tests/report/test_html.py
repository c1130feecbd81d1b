"""The report of a full run, of a hostile run and of runs with parts missing."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from example_run import CHINESE, HOSTILE, example_run, hostile_run

from embedfit.doctor import diagnose
from embedfit.errors import RunError
from embedfit.recipe import to_toml
from embedfit.report.html import render, write
from embedfit.run import History, Run


class Page(HTMLParser):
    """Elements, attributes and visible text of a page, as a browser sees them."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module")
def full() -> str:
    run = example_run()
    return render(run, diagnose(run))


def test_the_page_is_well_formed_and_all_of_it_is_there(full):
    page = Page(full)
    assert page.open == []
    assert page.tags.count("svg") == 14
    for words in (
        "accuracy@1, 95 % interval 0.867 to 0.905", "beyond both intervals", "Chance: all candidates look alike",
        "chance 4.34", "lexical 0.81", "Learning rate", "Gradient norm", "Recall against k",
        "Cosines of held-out pairs", "Singular values", "Map of the embeddings", "Why do I have less money",
        "4 texts carry two labels",
        "the cell is empty", "healthy", "LOS001", "embedfit train recipe.toml", "2.13.0",
    ):  # fmt: skip
        assert words in page.text, words
    assert to_toml(example_run().recipe).splitlines()[1] in page.text


def test_the_result_comes_before_everything_else(full):
    text = Page(full).text
    places = [text.index(words) for words in ("0.887", "beyond both intervals", "Training ended", "Worst mistakes")]
    assert places == sorted(places)


def test_the_page_needs_nothing_but_itself(full):
    page = Page(full)
    assert not {"link", "img", "iframe", "object", "embed"} & set(page.tags)
    for name, value in page.attributes:
        assert name not in ("src", "srcset", "action")
        if name == "href":
            assert value.startswith("#")
    assert not re.search(r"url\(|@import|https?://", full)
    assert len(full) < 500_000


def test_the_page_knows_light_and_dark_and_every_colour_is_defined_in_both(full):
    light, media, chosen = (
        set(re.findall(r"--[\w-]+(?=:)", block)) for block in re.findall(r":root[^{]*\{([^}]*)\}", full)
    )
    assert light == media == chosen
    assert set(re.findall(r"var\((--[\w-]+)\)", full)) <= light
    assert "prefers-color-scheme: dark" in full


def test_figures_without_an_entry_in_the_glossary_are_folded_away():
    run = example_run()
    html = render(replace(run, facts={**run.facts, "data.odd_share": 0.25}))
    assert "1 finer figure odd share 0.25" in Page(html).text
    assert "finer figure" not in Page(render(run)).text


def test_chinese_is_written_as_it_is(full):
    assert CHINESE in full
    assert '<meta charset="utf-8">' in full


def test_hostile_texts_are_words_and_nothing_else(full):
    run = hostile_run()
    page = Page(render(run, diagnose(run)))
    assert page.open == []
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 20
    assert "{{ 7*7 }}" in Page(full).text


def test_an_empty_run_says_in_words_what_is_missing():
    page = Page(render(Run()))
    assert page.open == []
    for words in (
        "This run was not evaluated on held-out rows", "Nothing is known about the data", "no reading of the loss",
        "no evaluation during training", "No map was drawn", "No mistakes were kept", "No diagnosis was made",
    ):  # fmt: skip
        assert words in page.text
    assert "svg" not in page.tags


@pytest.mark.parametrize(
    "name", ["worst", "left_out", "map", "similarity", "singular_values", "recall_curve", "coverage_curve"]
)
@pytest.mark.parametrize("value", [None, [], {}, [None], {"k": None}, "text", 3, [{}], [[1.0]]])
def test_a_sample_that_is_missing_or_broken_does_not_break_the_page(name, value):
    run = example_run()
    assert Page(render(replace(run, samples={**run.samples, name: value}))).open == []


@pytest.mark.parametrize("part", ["facts", "evaluation", "environment", "samples", "history"])
def test_a_run_without_a_part_has_a_report(part):
    run = replace(example_run(), **{part: History() if part == "history" else {}})
    assert Page(render(run, diagnose(run))).open == []


def test_evaluation_without_intervals_or_baseline_is_shown():
    run = replace(example_run(), evaluation={"accuracy@1": 0.5})
    page = Page(render(run))
    assert "0.500" in page.text
    assert "No lexical baseline was measured" in page.text


def test_numbers_that_are_not_finite_leave_gaps():
    run = example_run()
    run.history.add(1600, {"loss": math.nan, "gradient_norm": math.inf})
    html = render(run, diagnose(run))
    assert "no finite number" in Page(html).text
    assert not re.search(r'd="[^"]*(nan|inf)', html)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ((0.9, 0.88, 0.92), "better than the lexical baseline"),
        ((0.8, 0.77, 0.83), "cannot be told apart"),
        ((0.6, 0.57, 0.63), "worse than the lexical baseline"),
    ],
)
def test_the_sentence_follows_from_the_intervals(model, words):
    value, low, high = model
    evaluation = {"accuracy@1": value, "accuracy@1/low": low, "accuracy@1/high": high, "lexical/accuracy@1": 0.81,
                  "lexical/accuracy@1/low": 0.785, "lexical/accuracy@1/high": 0.833}  # fmt: skip
    assert words in Page(render(replace(example_run(), evaluation=evaluation))).text


def test_write_returns_the_path_of_the_whole_file(tmp_path):
    run = example_run()
    path = write(run, diagnose(run), tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert path.read_text("utf-8").rstrip().endswith("</html>")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_file_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write(Run(), None, tmp_path / "file" / "report.html")


def test_the_command_to_repeat_the_run_is_ready_for_a_shell(tmp_path):
    run = replace(example_run(), folder=tmp_path / "it's mine")
    assert "'\"'\"'" in Page(render(run)).text


def test_graded_pairs_have_their_own_columns():
    worst = [
        {"query": "a man", "expected": "a dog", "got": "a dog", "score_expected": 4.8, "score_got": 0.1, "rank": 91}
    ]
    run = Run(facts={"metric": "spearman"}, samples={"worst": worst})
    text = Page(render(run)).text
    assert "first sentence second sentence grade and cosine places apart" in text
    assert "a man a dog 4.8 and 0.1 91" in text


def test_an_answer_that_is_no_candidate_leaves_its_cells_empty():
    worst = [{"query": "q", "expected": None, "got": "g", "score_expected": None, "score_got": 0.5, "rank": None}]
    assert "None" not in Page(render(Run(samples={"worst": worst}))).text


def test_the_figure_shows_fusion_but_not_chance(full):
    text = Page(full).text
    assert "both together" in text
    assert "0.013" not in text
