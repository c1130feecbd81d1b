"""README and docs/ say what is true: examples run, commands parse, names exist, links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner

import embedfit as ef
from embedfit.cli.app import app
from embedfit.doctor import CHECKS, GLOSSARY
from embedfit.engine import defaults, rate, setup
from embedfit.engine.objective import OBJECTIVES
from embedfit.recipe import Recipe, keys, parse_change, patch

ROOT = Path(__file__).parents[1]
WRITTEN = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
CODES = {check.code for check in CHECKS}
EXAMPLES = {"DAT999"}  # of the page that shows how to add a check


def load_hooks() -> ModuleType:
    """docs/hooks.py, which makes pages from the code."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS = load_hooks()
GENERATED: Mapping[str, str] = HOOKS.pages()
SITE = {path.name: HOOKS.inserted(path.read_text("utf-8")) for path in ROOT.glob("docs/*.md")} | GENERATED


def blocks(text: str, language: str) -> Iterator[tuple[int, str]]:
    """Fenced blocks of a language, each with the line it begins on."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.M | re.S):
        yield text[: match.start(1)].count("\n"), match[1]


def typed(text: str) -> list[list[str]]:
    """The command lines of a page, without their comments."""
    lines = [line for _, block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line[2:], comments=True) for line in lines]


def names(text: str) -> set[str]:
    """Whatever stands in backticks outside of code blocks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)))


COMMANDS = [
    pytest.param(words, id=" ".join(words)[:70])
    for path in [*WRITTEN.values(), ROOT / "CONTRIBUTING.md"]
    for words in typed(path.read_text("utf-8"))
]
PAGES_WITH_CODE = [name for name, path in WRITTEN.items() if "```python" in path.read_text("utf-8")]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of; runs are short there."""
    monkeypatch.chdir(tmp_path)
    short = {name: replace(family, least_steps=10) for name, family in defaults.FAMILIES.items()}
    monkeypatch.setattr(setup, "FAMILIES", short)
    monkeypatch.setattr(rate, "REACH", 1)
    questions = pl.read_csv(ef.demo() / "questions.csv").filter(pl.col("language") == "en").head(120)
    exam = pl.read_csv(ef.demo() / "exam.csv").join(
        questions.select("standard_question").unique(), on="standard_question"
    )
    two = ["question", "standard_question"]
    questions.select(two).write_csv("faq.csv")
    questions.select(two).tail(20).write_csv("more.csv")
    exam.select(two).write_csv("exam.csv")
    pl.read_csv(ef.demo() / "out_of_scope.csv").select("question").head(20).write_csv("out_of_scope.csv")
    Path("texts.txt").write_text("\n".join(questions["standard_question"].unique(maintain_order=True)), "utf-8")
    Path("broken.csv").write_text("question,standard_question\na,b\n,c\nd,e\n", "utf-8")
    write_collection(Path("collection"), questions)
    write_log(questions)
    return tmp_path


def write_collection(folder: Path, questions: pl.DataFrame) -> None:
    """Questions and standard questions in BEIR layout."""
    documents = questions["standard_question"].unique(maintain_order=True).to_list()
    (folder / "qrels").mkdir(parents=True)
    corpus = [json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(documents)]
    queries = [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(questions["question"])]
    judged = [f"q{i}\td{documents.index(text)}\t1" for i, text in enumerate(questions["standard_question"])]
    (folder / "corpus.jsonl").write_text("\n".join(corpus), "utf-8")
    (folder / "queries.jsonl").write_text("\n".join(queries), "utf-8")
    (folder / "qrels" / "train.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]), "utf-8")


def write_log(questions: pl.DataFrame) -> None:
    """Each question with a list of two: the answer of another question, passed over, and its own, clicked."""
    documents = questions.select(text="standard_question").unique(maintain_order=True).with_row_index("document_id")
    documents.write_csv("documents.csv")
    asked = questions.join(documents, left_on="standard_question", right_on="text").with_row_index("session_id")
    own = asked.select("session_id", "document_id", query_id="session_id", query="question", position=2, clicked=1)
    other = own.with_columns(pl.col("document_id").reverse(), position=1, clicked=0)
    pl.concat([other, own]).write_csv("impressions.csv")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_WITH_CODE)
def test_the_python_examples_of_a_page_run_one_after_the_other(page: str, workplace: Path):
    text = WRITTEN[page].read_text("utf-8")
    space: dict[str, Any] = {"__name__": "__main__"}
    for line, code in blocks(text, "python"):
        exec(compile("\n" * line + code, page, "exec"), space)


@pytest.mark.slow
def test_the_tour_of_the_command_line_in_readme_can_be_walked(workplace: Path):
    text = WRITTEN["README.md"].read_text("utf-8")
    tour = next(block for _, block in blocks(text, "console") if "embedfit audit" in block)
    walked = typed(f"```console\n{tour}```")
    assert len(walked) >= 7
    for words in walked:
        result = CliRunner().invoke(app, words[1:], prog_name="embedfit")
        assert result.exit_code in (0, 1), f"{shlex.join(words)}: {result.output}"


def test_every_page_with_examples_is_tried():
    assert {"README.md", "docs/start.md", "docs/data.md", "docs/using.md", "docs/extending.md"} <= set(PAGES_WITH_CODE)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_line_is_understood(words: list[str]):
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert words[1] in targets
    elif words[0] == "embedfit":
        parse(words[1:])
    else:
        assert words[:2] == ["pip", "install"]


def parse(words: list[str]) -> None:
    """Parse as the real command line does, without running anything."""
    if words[0].startswith("-"):
        assert any(words[0] in option.opts for option in app.params)
        return
    top = click.Context(app, info_name="embedfit")
    ctx = app.commands[words[0]].make_context(words[0], list(words[1:]), parent=top)
    if "changes" in ctx.params:
        patch(Recipe(), dict(parse_change(change) for change in ctx.params["changes"]))


def test_a_wrong_command_line_would_be_noticed():
    for words in (["train", "faq.csv", "--lr", "3"], ["train", "faq.csv", "--set", "optim.lr=3"], ["search", "runs/a"]):
        with pytest.raises((click.ClickException, ef.EmbedfitError)):
            parse(words)


@pytest.mark.parametrize("page", sorted(SITE))
def test_a_page_names_only_codes_of_the_catalogue(page: str):
    families = "|".join(sorted({code[:3] for code in CODES}))
    assert set(re.findall(rf"\b(?:{families})\d{{3}}\b", SITE[page])) <= CODES | EXAMPLES


def test_every_check_has_its_page_and_its_line_in_the_catalogue():
    assert {Path(page).stem for page in SITE if page.startswith("checks/")} == CODES | {"index"}
    assert set(re.findall(r"^\| \[(\w+)\]", SITE["checks/index.md"], re.M)) == CODES


def test_every_setting_is_described_and_no_other():
    found = re.findall(r"^\| `(\w+\.\w+)` \| `.+?` \| .+ \| (.+) \|$", SITE["recipe.md"], re.M)
    assert [key for key, _ in found] == keys()
    assert all(text.strip() for _, text in found)


def test_every_command_is_described():
    assert set(re.findall(r"^## `embedfit (\w+)`$", SITE["cli.md"], re.M)) == set(app.commands)


@pytest.mark.parametrize("page", WRITTEN)
def test_a_page_names_only_settings_and_facts_that_exist(page: str):
    sections = "|".join(Recipe.model_fields)
    known = set(keys()) | set(GLOSSARY) | first_cells("facts.json")
    found = {
        name for name in names(WRITTEN[page].read_text("utf-8")) if re.fullmatch(rf"(?:{sections})\.[a-z_0-9]+", name)
    }
    assert found <= known | {"run.encode", "model.safetensors"}


@pytest.mark.parametrize("page", WRITTEN)
def test_a_page_names_only_files_of_the_repository_that_exist(page: str):
    found = re.findall(r"`((?:src|tests|docs|benchmarks|tools)/[^`*]*)`", WRITTEN[page].read_text("utf-8"))
    assert [path for path in found if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("name", "path"), re.findall(r"`(\w+)` in\s+`(src/[^`]+\.py)`", WRITTEN["docs/extending.md"].read_text("utf-8"))
)
def test_what_the_page_on_extending_points_at_is_there(name: str, path: str):
    assert re.search(rf"^(?:def|class) {name}\b|^{name}\b", (ROOT / path).read_text("utf-8"), re.M)


@pytest.mark.parametrize("page", sorted(SITE))
def test_links_between_pages_lead_somewhere(page: str):
    prose = re.sub(r"^```.*?^```", "", SITE[page], flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:|#", target):
            continue
        place = os.path.normpath(Path(page).parent / target.partition("#")[0])
        assert place in SITE or (ROOT / "docs" / place).is_file(), f"{page} -> {target}"


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_files_in_the_root_lead_somewhere(file: str):
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / file).read_text("utf-8"))
    assert [link for link in links if not re.match(r"https?:|#", link) and not (ROOT / link).is_file()] == []


def test_navigation_has_every_page_once():
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = re.findall(r"^ +- [^:]+: (\S+\.md)$", config, re.M)
    assert sorted(listed) == sorted(page for page in SITE if not page.startswith("checks/"))


def test_the_site_asks_nothing_of_the_network():
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in config
    assert not re.search(r"https?://", config + (ROOT / "docs/assets/site.css").read_text("utf-8"))


def test_the_floors_are_those_of_the_import_contract():
    contract = (ROOT / ".importlinter").read_text("utf-8").split("layers =\n")[1].split("exhaustive")[0]
    drawn = next(block for _, block in blocks(WRITTEN["docs/architecture.md"].read_text("utf-8"), "text"))
    assert re.findall(r"[a-z]+", drawn) == re.findall(r"[a-z]+", contract)


def first_cells(section: str) -> set[str]:
    """The names in the first column of the tables under `## section` of the page about the run folder."""
    text = WRITTEN["docs/run-folder.md"].read_text("utf-8")
    part = text.split(f"## `{section}`\n")[1].split("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.+?) \|", part, re.M) for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.slow
def test_the_page_about_the_run_folder_names_every_key_and_no_other(workplace: Path):
    faq = pl.read_csv("faq.csv")
    faq.with_columns(label=pl.col("standard_question")).select("label", text="question").write_csv("classes.csv")
    right, wrong = faq["standard_question"], faq["standard_question"].reverse()
    graded = [
        pl.DataFrame({"sentence1": faq["question"], "sentence2": s, "score": v})
        for s, v in ((right, 1.0), (wrong, 0.0))
    ]
    pl.concat(graded).write_csv("graded.csv")
    facts, history, evaluation, samples = set[str](), set[str](), set[str](), set[str]()
    files = set[str]()
    log = ef.read("impressions.csv", corpus="documents.csv")
    sources = {name: name for name in ("faq.csv", "classes.csv", "graded.csv", "collection")} | {"clicks": log}
    for name, source in sources.items():
        mined = {"negatives.kind": "mined"} if name == "faq.csv" else {}
        run = ef.fit(source, out=f"runs/{name}", dev=0.3, settings={"optim.learning_rate": 0.01, **mined})
        facts |= set(run.facts)
        history |= set(run.history)
        evaluation |= {re.sub(r"/(low|high)$", "", key) for key in run.evaluation}
        samples |= set(run.record.samples)
        files |= {path.name for path in run.folder.iterdir()}
    tried = {"rate_test.losses", "rate_test.start", "rate_test.steps"}  # no test where the rate is given
    tried |= {"data.streamed"}  # of data that memory would not hold
    # settings of the objectives that no kind of rows takes by itself
    tried |= {f"chosen.{name}" for kind in OBJECTIVES.values() for name in kind.options}
    assert first_cells("facts.json") == facts | tried
    returned = {"guard", "guard/back_to", "guard/batch_size", "guard/rate"}  # written where training turns back
    followed = {"margin"}  # of margin_kind = "diameter"
    assert first_cells("history.jsonl") == history | returned | followed
    assert first_cells("samples.json") == samples
    assert documented_files() - {"checkpoints", "findings.json"} == files  # where there was something to find
    described = {pattern.removesuffix("...") for pattern in first_cells("evaluation.json")}
    alone = {
        key
        for key in evaluation
        if key not in described and not key.startswith(tuple(p for p in described if p.endswith("/")))
    }
    assert alone == set()


def documented_files() -> set[str]:
    """The files and folders of a run, in the first table."""
    text = WRITTEN["docs/run-folder.md"].read_text("utf-8").split("\n## ")[0]
    return {name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \|", text, re.M)}
