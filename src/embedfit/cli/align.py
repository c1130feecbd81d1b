"""Embedding to embedding: `align`."""

from __future__ import annotations

__all__ = ["align"]

from collections.abc import Mapping
from typing import Any

import click

from embedfit.cli.options import as_given, as_json


@click.command(short_help="Learn a map between embedding spaces.")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option("--texts", metavar="FILE", help="Texts that SOURCE and TARGET, two models then, embed.")
@click.option("--apply", "map_folder", metavar="MAP", help="Put the vectors of SOURCE through this map into TARGET.")
@click.option(
    "--student", metavar="KIND", help="Distil: SOURCE are texts; TARGET is the teacher, its vectors or scores."
)
@click.option(
    "--dimension", type=click.IntRange(min=1), help="With --student: of its embeddings; the teacher's if none."
)
@click.option("--translations", metavar="FILE", help="With --student: each text of SOURCE in another language.")
@click.option("-o", "--out", metavar="DIR", help="Where the map, or the student, is saved.")
@click.option(
    "--map", "kind", type=click.Choice(["auto", "orthogonal", "low-rank", "linear", "mlp"]), default="auto",
    show_default=True, help="Kind of map; auto: the smallest that is as good as the best.",
)  # fmt: skip
@click.option(
    "--objective", default="auto", show_default=True, metavar="NAME",
    help="What is minimised: mse, mae, huber, euclidean, cosine, cosine+euclidean, jasper, ...",
)  # fmt: skip
@click.option(
    "--nearness", type=click.Choice(["auto", "cosine", "euclidean"]), default="auto", show_default=True,
    help="How nearness is measured in the target space; auto: cosine where rows have length 1.",
)  # fmt: skip
@click.option(
    "--labels", metavar="FILE", help="A label for each row (.npz:name, .npy or texts): search is measured by it."
)
@click.option("--id", "id_column", metavar="NAME", help="Array or column with the ids, where its name does not say it.")
@click.option(
    "--on-bad-rows", type=click.Choice(["error", "skip"]), default="error", show_default=True,
    help="Refuse rows that are not finite or come twice, or leave them out and list them.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of everything random.")
@as_json
def align(source: str, target: str, map_folder: str | None, student: str | None, form: str, **how: Any) -> int:
    """Say whether vectors of one space follow from those of another, and learn the map.

    SOURCE and TARGET hold vectors of the same items: .npy, .npz:name or .parquet:column, matched by id where both have
    ids; or they are two models, with --texts. The exit status is 1 where there is no mapping.

    \b
    embedfit align old.npy new.npy -o maps/old-to-new
    embedfit align old-index.npy new-index.npy --apply maps/old-to-new
    embedfit align runs/faq-1 all-MiniLM-L6-v2 --texts texts.txt
    embedfit align texts.txt all-MiniLM-L6-v2 --student static -o small
    embedfit align texts.txt scores.tsv --student static -o small
    """
    from embedfit.cli import aligning

    if map_folder is not None:
        _only(how, "--apply", "id_column")
        return aligning.apply(map_folder, source, target, how["id_column"], form)
    if student is not None:
        used = ("out", "objective", "labels", "dimension", "translations", "seed")
        _only(how, "--student", *used)
        return aligning.distil(source, target, student, form, **{name: how[name] for name in used})
    for name in ("dimension", "translations"):
        if how.pop(name) is not None:
            raise click.UsageError(f"--{name} needs --student", ctx=click.get_current_context())
    return aligning.compare(source, target, form, **how)


def _only(how: Mapping[str, Any], why: str, *used: str) -> None:
    """Refuse options that would have no effect."""
    idle = [name for name in as_given(how) if name not in used]
    if idle:
        names = {"kind": "map", "id_column": "id"}
        option = names.get(idle[0], idle[0]).replace("_", "-")
        raise click.UsageError(f"--{option} has no effect with {why}", ctx=click.get_current_context())
