"""Pages of the site that are made from the code at build time, so that they cannot say anything else than the code.

`pages()` needs embedfit alone; only the two functions that mkdocs calls know mkdocs.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from embedfit.align.vocabulary import VOCABULARY
from embedfit.cli.app import app
from embedfit.data.aliases import ALIASES, OF_CLICKS
from embedfit.doctor import CHECKS, GLOSSARY, Check
from embedfit.engine.defaults import EVALUATIONS, FAMILIES, kind_for, loss_for, temperature_for
from embedfit.pairs import KINDS
from embedfit.recipe import Recipe

ROOT = Path(__file__).parents[1]
FAMILY_NAMES = {
    "DAT": "data",
    "PAI": "pairing",
    "NEG": "negatives",
    "LOS": "loss",
    "GEO": "geometry of the embeddings",
    "MOD": "towers and modes",
    "OPT": "optimisation",
    "NUM": "numerics",
    "TEA": "teachers",
    "EVA": "evaluation",
}
MOVED = {"LICENSE": "license.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the repository that README links to, and the pages they become."""


def pages() -> dict[str, str]:
    """Markdown of every generated page, by its path in the site."""
    demo = ROOT / "src" / "embedfit" / "data" / "demo" / "README.md"
    return {
        "index.md": from_root(ROOT / "README.md"),
        "changelog.md": from_root(ROOT / "CHANGELOG.md"),
        "contributing.md": from_root(ROOT / "CONTRIBUTING.md"),
        "license.md": f"# Licence\n\n```text\n{(ROOT / 'LICENSE').read_text('utf-8')}\n```\n",
        "demo-data.md": demo.read_text("utf-8"),
        "cli.md": commands(),
        "recipe.md": recipe(),
        "checks/index.md": catalogue(),
        **{f"checks/{check.code}.md": check_page(check) for check in CHECKS},
    }


def from_root(path: Path) -> str:
    """A file of the repository's root, its links as they are from inside the site."""

    def link(match: re.Match[str]) -> str:
        target, hash_, anchor = match[1].partition("#")
        return f"]({MOVED.get(target, target.removeprefix('docs/'))}{hash_}{anchor})"

    return re.sub(r"\]\(([^)\s:]+)\)", link, path.read_text("utf-8"))


def catalogue() -> str:
    """The table of all checks."""
    lines = [
        "# The checks of the doctor",
        "",
        "`embedfit diagnose` puts a run to every check below; `embedfit explain CODE` prints the same pages. A check",
        "reads what is known of a run or a program and trains nothing. An *issue* is a fact or was shown by an",
        "experiment, a *watch* is a reading that looks odd and proves nothing. A check without the readings it needs",
        "says which one is missing. What is asked of programs and loops of your own: [the doctor](../doctor.md).",
    ]
    for prefix, name in FAMILY_NAMES.items():
        lines += ["", f"## {prefix}: {name}", "", "| code | check | component | what it finds |", "|---|---|---|---|"]
        for check in (check for check in CHECKS if check.code.startswith(prefix)):
            first = (type(check).__doc__ or "").strip().partition("\n")[0]
            lines.append(f"| [{check.code}]({check.code}.md) | {check.name} | {check.component} | {first} |")
    return "\n".join(lines) + "\n"


def check_page(check: Check) -> str:
    """The docstring of a check with its thresholds, and what the check reads."""
    # Markdown wants an empty line before a list; plain addresses become links
    text = re.sub(r"(## References\n)(-)", r"\1\n\2", check.page)
    text = re.sub(r"(?<![(<])(https?://[^\s,)]+)", r"<\1>", text)
    needs = "\n".join(f"| `{name}` | {GLOSSARY[name]} |" for name in check.needs)
    advice = (
        "A *watch* of this check leaves the verdict as it is."
        if check.advisory
        else "A *watch* of this check keeps the verdict open: *cannot-tell*."
    )
    table = f"| name | meaning |\n|---|---|\n{needs}"
    return f"{text}\n## What it reads\n\n{table}\n\nComponent: {check.component}. {advice}\n"


def recipe() -> str:
    """Every setting, from the descriptions in recipe.py."""
    lines = [
        "# The recipe",
        "",
        "Every setting of a run. `embedfit init DATA` writes them to a file with these comments;",
        '`--set section.name=value` changes one; in Python, `ef.fit(..., settings={"section.name": value})`.',
        '`"auto"` means that the data decide: [Defaults](defaults.md) says how.',
        "",
        'A duration is `"3 epochs"`, `"500 steps"`, `"1e6 examples"` or `"5%"` (of the whole run).',
    ]
    for section, field in Recipe.model_fields.items():
        kind: Any = field.annotation
        title = (kind.__doc__ or "").strip().rstrip(".")
        lines += [
            "",
            f"## `[{section}]`",
            "",
            f"{title}.",
            "",
            "| setting | default | values | what it does |",
            "|---|---|---|---|",
        ]
        schema = kind.model_json_schema()["properties"]
        for name, setting in kind.model_fields.items():
            default = json.dumps(setting.default)
            values = cell(allowed(schema[name]))
            lines.append(f"| `{section}.{name}` | `{default}` | {values} | {cell(setting.description)} |")
    return "\n".join(lines) + "\n"


def allowed(schema: Mapping[str, Any]) -> str:
    """The values of a setting in words."""
    if "anyOf" in schema:
        return " or ".join(allowed(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema.get("enum", [schema.get("const")]))
    words = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
    if schema["type"] == "array":
        return "list of texts"
    if schema["type"] == "object":
        return "table of texts"
    limits = {"minimum": "from", "exclusiveMinimum": "above", "exclusiveMaximum": "below", "maximum": "to"}
    said = [f"{word} {schema[key]:g}" for key, word in limits.items() if key in schema]
    return " ".join([words[schema["type"]], *said])


def commands() -> str:
    """Every command as its own help says it."""
    lines = [
        "# Commands",
        "",
        "The text of `embedfit COMMAND --help`. " + (app.epilog or ""),
    ]
    look: dict[str, Any] = {"terminal_width": 80, "max_content_width": 80, "help_option_names": ["-h", "--help"]}
    top = click.Context(app, info_name="embedfit", **look)
    for name in app.list_commands(top):
        command = app.commands[name]
        ctx = click.Context(command, info_name=name, parent=top, **look)
        lines += ["", f"## `embedfit {name}`", "", "```text", command.get_help(ctx), "```"]
    return "\n".join(lines) + "\n"


def families() -> str:
    """What "auto" starts from in each family of towers."""
    head = (
        "family",
        "rate test from",
        f"batch size ({', '.join(KINDS)})",
        f"epochs ({', '.join(KINDS)})",
        "average",
        "label smoothing",
    )
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, family in FAMILIES.items():
        sizes = ", ".join(str(family.batch_size[kind]) for kind in KINDS)
        epochs = ", ".join(str(family.epochs[kind]) for kind in KINDS)
        figures = (
            f"{family.anchor:g}",
            sizes,
            epochs,
            f"{family.average:g}",
            f"{family.label_smoothing:g}",
        )
        lines.append("| " + " | ".join(map(str, (name, *figures))) + " |")
    return "\n".join(lines)


def glossary() -> str:
    """The readings, facts and metrics that checks may ask for."""
    return "\n".join(
        ["| name | meaning |", "|---|---|", *(f"| `{name}` | {cell(text)} |" for name, text in GLOSSARY.items())]
    )


def cell(text: str | None) -> str:
    """A text that cannot break a table."""
    return (text or "").replace("|", "\\|")


def aliases() -> str:
    """Names under which each role is recognised."""
    lines = ["| role | names |", "|---|---|"]
    for role, names in ALIASES.items():
        lines.append(f"| `{role}` | {', '.join(f'`{name}`' for name in names)} |")
    for role, names in OF_CLICKS.items():
        lines.append(f"| `{role}` of a click log | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines)


def sizes() -> str:
    """Sizes of towers from scratch where nothing is said."""
    table = importlib.import_module("embedfit.towers.build")._DEFAULTS
    names = ("dimension", "vocabulary", "layers", "dropout", "max_tokens")
    lines = ["| kind | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for kind, chosen in table.items():
        lines.append(f"| `{kind}` | " + " | ".join(f"{getattr(chosen, name):,}" for name in names) + " |")
    return "\n".join(lines)


def by_data() -> str:
    """Numbers of engine/defaults.py that are no matter of families."""
    rows = {
        "`model.kind`": f"`{kind_for('auto')}`",
        "`loss.kind`": "; ".join(f"{kind}: `{loss_for(kind)}`" for kind in KINDS),
        "`loss.temperature`": f"1 / (2 ln(99 (C - 1))) for C candidates: {temperature_for(64):.3f} for 64, "
        f"{temperature_for(256):.3f} for 256, {temperature_for(4096):.3f} for 4,096; a fixed one for graded rows, "
        "where only `cosent` uses it",
        "`loss.margin`": "none",
        "`optim.length`": "epochs as above; at least "
        + ", ".join(f"{family.least_steps} steps ({name})" for name, family in FAMILIES.items()),
        "`run.evaluate_every`": f"{EVALUATIONS} evaluations over the run",
        "`run.checkpoint_every`": "each minute",
    }
    return "\n".join(["| setting | rule |", "|---|---|", *(f"| {name} | {rule} |" for name, rule in rows.items())])


def study_of_defaults() -> str:
    """What every default was measured against."""
    return (ROOT / "studies" / "results" / "defaults.md").read_text("utf-8").partition("\n\n")[2]


def study(name: str) -> str:
    """The table and verdicts of a study, or how to get them."""
    page = ROOT / "studies" / "results" / f"{name}.md"
    return page.read_text("utf-8").rstrip() if page.is_file() else f"Not run yet: `python -m studies.{name}`."


def benchmark(name: str) -> str:
    """The table of a benchmark, or how to get it."""
    page = ROOT / "benchmarks" / "results" / f"{name}.md"
    return page.read_text("utf-8").rstrip() if page.is_file() else f"Not run yet: `python -m benchmarks.{name}`."


def alignment_findings() -> str:
    """What can speak against a mapping or a teacher."""
    lines = ["| finding | what | why it hurts | what to do |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {found.what} | {found.why} | {found.do} |" for name, found in VOCABULARY.items()]
    return "\n".join(lines)


STUDIES = (
    "negatives",
    "corpora",
    "collapse",
    "schedules",
    "sweeps",
    "batch_laws",
    "unseen",
    "graded",
    "no_negatives",
    "interaction",
    "transfer",
    "align_losses",
    "align_spaces",
    "two_languages",
)
"""Studies of claims, which docs/studies.md and docs/align.md show."""
BENCHMARKS = ("distil", "migrate")
"""Benchmarks whose tables hand-written pages show."""

INSERTED = {
    "alignment_findings": alignment_findings,
    "aliases": aliases,
    "by_data": by_data,
    "families": families,
    "glossary": glossary,
    "sizes": sizes,
    "study_of_defaults": study_of_defaults,
    **{f"study_{name}": functools.partial(study, name) for name in STUDIES},
    **{f"benchmark_{name}": functools.partial(benchmark, name) for name in BENCHMARKS},
}
"""What `<!-- insert: NAME -->` in a hand-written page is replaced with."""


def inserted(markdown: str) -> str:
    """The page with its tables filled in."""
    # an interval stays on one line of its cell
    return re.sub(r"<!-- insert: (\w+) -->", lambda m: INSERTED[m[1]]().replace(" ± ", "\u00a0±\u00a0"), markdown)


def on_config(config: Any) -> Any:
    """mkdocs: put the pages of the checks into the navigation."""
    codes = [{f"{check.code} {check.name}": f"checks/{check.code}.md"} for check in CHECKS]
    for entry in config.nav:
        if "Checks" in entry:
            entry["Checks"] = [{"All checks": "checks/index.md"}, *codes]
    return config


def on_files(files: Any, config: Any) -> Any:
    """mkdocs: add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """mkdocs: fill in the tables of hand-written pages."""
    return inserted(markdown)
