"""`Recipe`: every setting of a run, as one TOML file. "auto" means that the data decides (engine/defaults.py).

A setting lives here once: its default, its range and its one-line description, from which `embedfit init` writes the
comments, `--set key=value` checks its keys, and a prescription of the doctor is a patch.
"""

from __future__ import annotations

__all__ = ["Auto", "Duration", "Recipe", "describe", "from_toml", "patch", "to_toml"]

import json
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from embedfit.errors import RecipeError

Auto = Literal["auto"]
_DURATION = re.compile(r"^\s*((?:\d+\.?\d*|\.\d+)(?:e\d+)?)\s*(epochs?|steps?|examples?|%)\s*$", re.ASCII)


class Duration:
    """A length of training: "3 epochs", "500 steps", "1e6 examples" or "5%" (of the whole run).

    Parsed at the edge; inside, time is steps.
    """

    @staticmethod
    def check(text: str) -> str:
        """Return the text unchanged, or raise ValueError when it is no duration."""
        if not _DURATION.match(text):
            raise ValueError(
                f"expected a duration such as '3 epochs', '500 steps', '1e6 examples' or '5%', got '{text}'"
            )
        return text

    @staticmethod
    def check_some(text: str) -> str:
        """The same, but longer than nothing."""
        match = _DURATION.match(Duration.check(text))
        if match is None or not 0 < float(match[1]) < 1e15:
            raise ValueError(f"expected a duration longer than nothing, got '{text}'")
        return text

    @staticmethod
    def check_whole(text: str) -> str:
        """The same for the length of the whole run, which cannot be a share of itself."""
        if Duration.check_some(text).rstrip().endswith("%"):
            raise ValueError(f"expected a duration such as '3 epochs' or '500 steps', got the share '{text}'")
        return text

    @staticmethod
    def steps(text: str, *, steps_per_epoch: int, batch_size: int, total: int | None = None) -> int:
        """How many optimiser steps a duration is."""
        match = _DURATION.match(text)
        assert match is not None, "durations are checked when the recipe is built"
        amount, unit = float(match[1]), match[2].rstrip("s")
        if unit == "%":
            assert total is not None, "a share needs a whole"
            return round(amount / 100 * total)
        per_unit = {"step": 1.0, "epoch": float(steps_per_epoch), "example": 1 / batch_size}[unit]
        return max(1, round(amount * per_unit))


DurationText = Annotated[str, AfterValidator(Duration.check)]
SomeText = Annotated[str, AfterValidator(Duration.check_some)]
WholeText = Annotated[str, AfterValidator(Duration.check_whole)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class DataSection(_Section):
    """Where the rows come from and how they are divided."""

    files: tuple[str, ...] = Field((), description="files, folders or globs with the training rows")
    kind: Literal["auto", "pairs", "classes", "graded", "clicks", "collection"] = Field(
        "auto", description="what a row is"
    )
    columns: dict[str, str] = Field({}, description="role = column, where names alone do not say it")
    encoding: str = Field("utf-8", description="of text files")
    dev: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto", description="rows held out: a share below 1, or a number; auto: a tenth, of many 500 or 1 %"
    )
    dev_files: tuple[str, ...] = Field((), description="held-out rows from files of their own instead")
    out_of_scope: tuple[str, ...] = Field(
        (), description="files with texts that have no answer, to choose the threshold with"
    )
    on_bad_rows: Literal["error", "skip"] = Field("error", description="skip: leave broken rows out, and list them")


class ModelSection(_Section):
    """The towers."""

    kind: str = Field(
        "auto", description="static, gru, lstm, ngram, transformer, or a path or name of a pretrained encoder"
    )
    shared: bool = Field(True, description="one tower for queries and documents; false: two")
    dimension: Count | Auto = Field("auto", description="size of an embedding (from-scratch towers)")
    vocabulary: Count | Auto = Field("auto", description="sub-words learned from the data, at most")
    layers: Annotated[int, Field(ge=0)] | Auto = Field(
        "auto", description="layers of gru, lstm, transformer; residual blocks of static; parts of ngram"
    )
    dropout: Share | Auto = Field("auto", description="dropout of the tower")
    max_tokens: Count | Auto = Field("auto", description="longer texts are cut here")


class LossSection(_Section):
    """What training asks for."""

    kind: Literal["auto", "infonce", "prototypes", "cosent", "cosine"] = Field("auto", description="the objective")
    temperature: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="auto: from the number of candidates (floor below 5 % of chance)"
    )
    margin: float = Field(0.0, ge=0, lt=2, description="additive margin on the positive's cosine (infonce, prototypes)")
    label_smoothing: Share | Auto = Field("auto", description="share of the target given to all candidates alike")


class OptimSection(_Section):
    """How the weights move."""

    learning_rate: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto", description="auto: by a learning-rate test on the data"
    )
    batch_size: Count | Auto = Field("auto", description="queries in one step")
    length: WholeText | Auto = Field("auto", description="how long to train at most")
    warmup: DurationText = Field("6%", description="linear rise of the learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="fall of the learning rate after warmup"
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW, on weight matrices only")
    max_gradient_norm: float = Field(1.0, gt=0, description="longer gradients are shortened")
    average: Annotated[float, Field(ge=0, le=1)] | Auto = Field(
        "auto", description="moving average of the weights: share of the run it looks back; 0: none"
    )
    patience: int = Field(5, ge=1, description="evaluations without a better held-out metric before training stops")
    seed: int = Field(0, description="initialisation, order of the rows, dropout")


class RunSection(_Section):
    """Housekeeping."""

    evaluate_every: SomeText | Auto = Field("auto", description="how often the held-out metric is measured")
    checkpoint_every: SomeText | Auto = Field("auto", description="how often a resumable checkpoint is written")
    threads: int = Field(0, ge=0, description="CPU threads; 0: one for static and ngram, all cores for the others")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="arithmetic of the towers; scores and loss are fp32"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one; or cpu, cuda, cuda:1"
    )
    memory_gb: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto", description="what activations may take; a batch that needs more is embedded in parts, part of it twice"
    )


class Recipe(_Section):
    """Every setting of a run."""

    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    loss: LossSection = LossSection()
    optim: OptimSection = OptimSection()
    run: RunSection = RunSection()


def build(table: Mapping[str, Any], *, source: str = "the recipe") -> Recipe:
    """A recipe from a plain table.

    Raises:
        RecipeError: an unknown key (with the nearest known one) or a value out of range.
    """
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][:2])
        if first["type"] == "extra_forbidden":
            raise RecipeError(f"{source}: there is no setting '{key}'", hint=_meant(key)) from None
        expected = first["msg"].removeprefix("Value error, ")
        expected = expected[0].lower() + expected[1:]
        raise RecipeError(f"{source}: '{key}' got {first['input']!r}; {expected}", hint=_describe(key)) from None


def keys() -> list[str]:
    """Every setting as `section.name`."""
    return [f"{section}.{name}" for section, kind in _sections() for name in kind.model_fields]


def patch(recipe: Recipe, change: Mapping[str, Any]) -> Recipe:
    """A copy with dotted keys replaced: `{"loss.temperature": 0.05}`.

    Raises:
        RecipeError: an unknown key or a value out of range.
    """
    table = recipe.model_dump(mode="json")
    for path, value in change.items():
        section, _, name = path.partition(".")
        if not name or section not in table:
            raise RecipeError(f"there is no setting '{path}'", hint=_meant(path))
        table[section][name] = value
    return build(table, source="the changed recipe")


def _meant(wrong: str) -> str:
    """The setting a wrong one was probably meant to be: by spelling, by its bare name, by initials (`optim.lr`)."""
    known = {key: key.rpartition(".")[2] for key in keys()}
    name = wrong.rpartition(".")[2]
    near = [
        *get_close_matches(wrong, known, n=1, cutoff=0.8),
        *(key for key, own in known.items() if name == own),
        *(key for key, own in known.items() if name == "".join(word[0] for word in own.split("_"))),
        *get_close_matches(wrong, known, n=1, cutoff=0.6),
    ]
    return f"did you mean '{near[0]}'?" if near else f"settings: {', '.join(known)}"


def parse_change(text: str) -> tuple[str, Any]:
    """`"loss.temperature=0.05"` -> `("loss.temperature", 0.05)`; the value is read as TOML, else as a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"expected key=value, got '{text}'", hint="for example --set loss.temperature=0.05")
    try:
        return key.strip(), tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def from_toml(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        RecipeError: no such file, no TOML, unknown key, value out of range.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"no recipe at '{path}'", hint="`embedfit init DATA` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"'{path}' is no TOML file: {error}", hint="`embedfit init DATA` writes one to start from"
        ) from None
    except OSError as error:
        raise RecipeError(
            f"cannot read '{path}': {error.strerror}", hint="check that it is a file and may be read"
        ) from None
    return build(table, source=str(path))


def to_toml(recipe: Recipe, *, comments: bool = False) -> str:
    """The recipe as TOML; with comments, each setting carries its description."""
    document = tomlkit.document()
    for section, kind in _sections():
        table = tomlkit.table()
        if comments and kind.__doc__:
            table.comment(kind.__doc__.rstrip("."))
        values = getattr(recipe, section).model_dump(mode="json")
        for name, field in kind.model_fields.items():
            value: Any = values[name]
            if isinstance(value, dict):
                inline = tomlkit.inline_table()
                inline.update(value)
                value = inline
            table.add(name, value)
            if comments and field.description:
                table.value.item(name).comment(field.description)  # type: ignore[union-attr]
        document.add(section, table)
    return tomlkit.dumps(document)


def describe(key: str) -> str:
    """The one-line description of a setting.

    Raises:
        RecipeError: there is no such setting.
    """
    text = _describe(key)
    if text is None:
        raise RecipeError(f"there is no setting '{key}'", hint=f"settings: {', '.join(keys())}")
    return text


def _describe(key: str) -> str | None:
    section, _, name = key.partition(".")
    field = dict(_sections()).get(section, Recipe).model_fields.get(name)
    return None if field is None else f"{key}: {field.description} (default {json.dumps(field.default)})"


def _sections() -> list[tuple[str, type[BaseModel]]]:
    return [(name, field.annotation) for name, field in Recipe.model_fields.items()]  # type: ignore[misc]
