"""A recipe from a table, changed by `section.key = value`, read from and written as TOML."""

from __future__ import annotations

__all__ = ["build", "describe", "from_toml", "keys", "parse_change", "patch", "to_toml"]

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel, ValidationError

from embedfit.errors import RecipeError
from embedfit.recipe.sections import Recipe, StageSection


def build(table: Mapping[str, Any], *, source: str = "the recipe") -> Recipe:
    """A recipe from a plain table.

    Raises:
        RecipeError: an unknown key (with the nearest known one) or a value out of range.
    """
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key, inner = _named(first["loc"])
        if first["type"] == "extra_forbidden":
            hint = _meant_inside(inner) if inner else _meant(key)
            raise RecipeError(f"{source}: there is no setting '{key}{inner}'", hint=hint) from None
        expected = first["msg"].removeprefix("Value error, ")
        expected = expected[0].lower() + expected[1:]
        got = f"'{key}{inner}' got {first['input']!r}"
        raise RecipeError(f"{source}: {got}; {expected}", hint=_describe(key)) from None


def _named(place: tuple[int | str, ...]) -> tuple[str, str]:
    """A setting as `section.name`, and where it is a list of tables the place inside: "[0].rate"."""
    inside = len(place) > 3 and isinstance(place[2], int)
    return ".".join(str(part) for part in place[:2]), f"[{place[2]}].{place[3]}" if inside else ""


def _meant_inside(wrong: str) -> str:
    known = list(StageSection.model_fields)
    near = get_close_matches(wrong.rpartition(".")[2], known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"settings of a stage: {', '.join(known)}"


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
        values = getattr(recipe, section).model_dump(mode="json", exclude_none=True)
        for name, field in kind.model_fields.items():
            table.add(name, _inline(values[name]))
            if comments and field.description:
                table.value.item(name).comment(field.description)  # type: ignore[union-attr]
        document.add(section, table)
    return tomlkit.dumps(document)


def _inline(value: Any) -> Any:
    """A value on one line: tables in braces, also those in a list."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({name: _inline(inner) for name, inner in value.items()})
        return table
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        array = tomlkit.array()
        for item in value:
            array.append(_inline(item))
        return array
    return value


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
