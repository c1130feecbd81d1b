"""Binds the columns of a source to roles by their names; the order of columns never means anything."""

from __future__ import annotations

__all__ = ["ALIASES", "bind", "bind_roles", "is_list_role", "key"]

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from embedfit.data.aliases import ALIASES, aliases, key
from embedfit.data.binding import Binding
from embedfit.errors import DataError
from embedfit.pairs import COLUMNS, Kind

Roles = Mapping[str, str | Sequence[str]]

_OPTIONAL: Mapping[Kind, tuple[str, ...]] = {
    "pairs": ("negative", "weight"),
    "classes": ("label_text", "weight"),
    "graded": (),
    "clicks": ("query_id", "document_id", "session_id", "position", "timestamp"),
}
_NEGATIVE = re.compile(r"(?:hard)?neg(?:ative)?s?(?:passages?|documents?)?(\d*)")
_CLICKS = frozenset({"clicked", "click", "isclick", "isclicked"})
_JUDGEMENTS = frozenset({*_CLICKS, "relevance", "relevant", "rating", "score", "similarity"})


def is_list_role(role: str) -> bool:
    """Whether a cell of this role may hold several texts (FlagEmbedding's `pos` and `neg`)."""
    return role == "positive" or role.startswith("negative")


def bind(
    columns: Sequence[str], *, kind: str, roles: Roles, numeric: Callable[[str], bool], name: str
) -> tuple[Kind, Binding]:
    """Find out what kind of data these columns are, and which column plays which role.

    Args:
        columns: names as the source has them.
        kind: a kind of `Pairs`, or "auto" to infer it from the names.
        roles: role -> column, as the user said it; every other role is found by name.
        numeric: whether a column holds numbers (asked only where a name alone does not say it).
        name: what the user called the source, for messages.

    Raises:
        DataError: nothing fits, two columns fit one role, or two kinds fit.
    """
    given = {role: _existing(role, column, columns, name) for role, column in roles.items()}
    kinds = _kinds(kind, given)
    found = {k: _candidates(columns, (*COLUMNS[k], *_OPTIONAL[k]), given, k) for k in kinds}
    if "graded" in found and kind == "auto" and "score" not in given:
        found["graded"]["score"] = [c for c in found["graded"]["score"] if key(c) != "label" or numeric(c)]
    if "clicks" in found:
        _sort_out_clicks(found["clicks"], given, numeric)
    complete = [k for k in kinds if all(found[k][role] for role in COLUMNS[k])]
    if "clicks" in complete and any(key(c) in _CLICKS for c in found["clicks"]["clicked"]):
        complete = ["clicks"]
    if not complete:
        raise _nothing_fits(columns, kinds, found, name)
    complete = [k for k in complete if not any(_used(found[k]) < _used(found[other]) for other in complete)]
    if len(complete) > 1:
        raise _two_kinds(complete, found, name)
    chosen = complete[0]
    binding = _settle(found[chosen], columns, name)
    if chosen == "pairs" and kind == "auto":
        _refuse_judgements(binding, name)
    return chosen, binding


def bind_roles(
    columns: Sequence[str],
    *,
    required: Sequence[str],
    optional: Sequence[str],
    roles: Roles,
    name: str,
    kind: Kind | None = None,
) -> Binding:
    """Bind a fixed set of roles (one file of several); `roles` that this table lacks are found by name instead.

    Raises:
        DataError: a required role has no column, or a role has two.
    """
    wanted = (*required, *optional)
    given = {r: _existing(r, c, columns, name) for r, c in roles.items() if r in wanted and c in columns}
    found = _candidates(columns, wanted, given, kind)
    missing = [role for role in required if not found[role]]
    if missing:
        raise DataError(
            f"{name} has no column for '{missing[0]}': it has {_quoted(columns)}, "
            f"and '{missing[0]}' would be called {_quoted(aliases(missing[0], kind))}",
            hint=f"name it: {_how(missing[0], columns[0])}",
        )
    return _settle(found, columns, name)


def _existing(role: str, column: str | Sequence[str], columns: Sequence[str], name: str) -> list[str]:
    wanted = [column] if isinstance(column, str) else list(column)
    if len(wanted) != 1 and not is_list_role(role):
        raise DataError(f"the role '{role}' takes one column, got {_quoted(wanted) or 'none'}", hint=_how(role, "NAME"))
    return [_spelled(role, w, columns, name) for w in wanted]


def _spelled(role: str, wanted: str, columns: Sequence[str], name: str) -> str:
    if wanted in columns:
        return wanted
    same = [c for c in columns if key(c) == key(wanted)]
    if len(same) == 1:
        return same[0]
    near = get_close_matches(wanted, columns, n=1, cutoff=0.5)
    raise DataError(
        f"{name} has no column '{wanted}' for the role '{role}'; its columns are {_quoted(columns)}",
        hint=f"did you mean {_how(role, near[0])}?" if near else f"name one of them: {_how(role, columns[0])}",
    )


def _kinds(kind: str, given: Mapping[str, list[str]]) -> list[Kind]:
    known: dict[Kind, tuple[str, ...]] = {k: (*COLUMNS[k], *_OPTIONAL[k]) for k in _OPTIONAL}
    every = sorted({role for roles in known.values() for role in roles})
    for role in given:
        if role not in every and not _numbered_negative(role):
            near = get_close_matches(role, every, n=1)
            raise DataError(
                f"there is no role '{role}'; the roles are {', '.join(every)}",
                hint=f"did you mean '{near[0]}'?" if near else "write role='name of the column'",
            )
    pool = [k for k in known if kind in ("auto", k)]
    if not pool:
        raise DataError(
            f"kind='{kind}' cannot be read from one table; one table is {', '.join(known)}",
            hint="a collection is a folder in BEIR layout, or read(corpus=..., queries=..., qrels=...)",
        )
    fitting = [k for k in pool if all((("negative" if _numbered_negative(r) else r) in known[k]) for r in given)]
    if not fitting:
        raise DataError(
            f"the roles {', '.join(given)} do not belong to one kind of data"
            if kind == "auto"
            else f"data of kind '{kind}' has the roles {', '.join(known[pool[0]])}; got {', '.join(given)}",
            hint="; ".join(f"{k}: {', '.join(known[k])}" for k in known),
        )
    return fitting


def _numbered_negative(role: str) -> bool:
    return re.fullmatch(r"negative(_\d+)?", role) is not None


def _sort_out_clicks(
    found: dict[str, list[str]], given: Mapping[str, list[str]], numeric: Callable[[str], bool]
) -> None:
    """A label is a click only where it is a number; an item that is a number is the id of a document, not its text."""
    if "clicked" not in given:
        sure = [c for c in found["clicked"] if key(c) in _CLICKS]
        found["clicked"] = sure or [c for c in found["clicked"] if numeric(c)]
    if "document" not in given:
        texts = [c for c in found["document"] if not numeric(c)]
        if "document_id" not in given:
            found["document_id"] = found["document_id"] or [c for c in found["document"] if c not in texts]
        own = [c for c in texts if key(c) != "title"]  # a title is the text only where there is no other
        found["document"] = own or texts


def _candidates(
    columns: Sequence[str], roles: Sequence[str], given: Mapping[str, list[str]], kind: Kind | None = None
) -> dict[str, list[str]]:
    taken = {c for cs in given.values() for c in cs}
    free = [c for c in columns if c not in taken]
    out: dict[str, list[str]] = {}
    for role in roles:
        if role == "negative":
            named = [c for r, cs in given.items() if _numbered_negative(r) for c in cs]
            out[role] = named or sorted((c for c in free if _NEGATIVE.fullmatch(key(c))), key=_negative_rank)
        elif role in given:
            out[role] = given[role]
        else:
            names = {key(alias) for alias in aliases(role, kind)}
            out[role] = [c for c in free if key(c) in names]
            if role.endswith("_id"):
                out[role] = _identifier(role, out[role], () if kind == "clicks" else free)
    return out


def _identifier(role: str, named: list[str], free: Sequence[str]) -> list[str]:
    """Tables carry many ids: the role's own name comes first, and a mere `_id` (BEIR) counts where no other does."""
    exact = [c for c in named if key(c) == key(role)]
    return exact or named or [c for c in free if key(c) == "id"]


def _negative_rank(column: str) -> tuple[int, str]:
    match = _NEGATIVE.fullmatch(key(column))
    return (int(match[1] or 0) if match else 0, column)


def _used(found: Mapping[str, list[str]]) -> frozenset[str]:
    return frozenset(c for cs in found.values() for c in cs)


def _settle(found: Mapping[str, list[str]], columns: Sequence[str], name: str) -> Binding:
    bound: dict[str, str] = {}
    for role, names in found.items():
        if role == "negative":
            bound |= {f"negative_{i}": c for i, c in enumerate(names, start=1)}
        elif len(names) > 1:
            raise DataError(
                f"{len(names)} columns of {name} fit the role '{role}': {_quoted(names)}",
                hint=f"choose one: {_how(role, names[0])}",
            )
        elif names:
            bound[role] = names[0]
    for column in bound.values():
        both = [role for role, c in bound.items() if c == column]
        if len(both) > 1:
            raise DataError(
                f"the column '{column}' cannot play two roles at once: {' and '.join(both)}",
                hint=f"name another column: {_how(both[1], 'NAME')}",
            )
    return Binding(bound, tuple(c for c in columns if c not in bound.values()))


def _refuse_judgements(binding: Binding, name: str) -> None:
    """A column of judgements beside query and document says that not every row is a positive."""
    for column in binding.unused:
        if key(column) in _JUDGEMENTS:
            raise DataError(
                f"{name} has queries and documents, and '{column}' seems to judge them: "
                "as pairs, every row would count as a positive",
                hint=f"for graded pairs write sentence1='{binding['query']}', sentence2='{binding['positive']}', "
                f"score='{column}' (--column ...); to take every row as a positive, kind='pairs' (--kind pairs)",
            )


def _nothing_fits(
    columns: Sequence[str], kinds: Sequence[Kind], found: Mapping[Kind, dict[str, list[str]]], name: str
) -> DataError:
    if len(kinds) == 1:
        kind = kinds[0]
        missing = [role for role in COLUMNS[kind] if not found[kind][role]]
        return DataError(
            f"{name} has no column for {_quoted(missing)} (kind '{kind}'); its columns are {_quoted(columns)}, "
            f"and '{missing[0]}' would be called {_quoted(aliases(missing[0], kind))}",
            hint=f"name it: {_how(missing[0], columns[0])}" + (_CATALOGUE if missing == ["document"] else ""),
        )
    wanted = "; ".join(f"{kind}: {' + '.join(COLUMNS[kind])}" for kind in kinds)
    if len(columns) == 1:
        return DataError(
            f"{name} has one column, '{columns[0]}'; expected at least two ({wanted})",
            hint="is the file separated by something else than its name says? Is the header line missing?",
        )
    if any(key(c) in _CLICKS for c in columns):
        return DataError(
            f"{name} looks like a click log ({_quoted(columns)}), and lacks {_quoted(_lacking(found))}",
            hint=f"name it: {_how(_lacking(found)[0], 'NAME')}"
            + (_CATALOGUE if _lacking(found) == ["document"] else ""),
        )
    return DataError(
        f"the columns of {name} do not say what they are: {_quoted(columns)}; expected {wanted}",
        hint=f"name them, for example query='{columns[0]}', positive='{columns[1]}' "
        f"(--column query='{columns[0]}' --column positive='{columns[1]}'); the first line must be a header",
    )


_CATALOGUE = (
    "; texts that stand in another table, by the same document_id, are read with corpus='documents.csv' "
    "(--column corpus=documents.csv)"
)


def _lacking(found: Mapping[Kind, dict[str, list[str]]]) -> list[str]:
    return [role for role in COLUMNS["clicks"] if not found.get("clicks", {}).get(role)]


def _two_kinds(kinds: Sequence[Kind], found: Mapping[Kind, dict[str, list[str]]], name: str) -> DataError:
    readings = " or ".join(
        f"{kind} (" + ", ".join(f"{r} <- {_quoted(cs)}" for r, cs in found[kind].items() if cs) + ")" for kind in kinds
    )
    return DataError(
        f"{name} can be read in {len(kinds)} ways: {readings}",
        hint="say which: " + " or ".join(f"kind='{kind}' (--kind {kind})" for kind in kinds),
    )


def _how(role: str, column: str) -> str:
    return f"{role}='{column}' (--column {role}='{column}')"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{n}'" for n in names)
