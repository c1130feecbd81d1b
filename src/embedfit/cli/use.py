"""After training: `evaluate`, `search`, `encode`."""

from __future__ import annotations

__all__ = ["encode", "evaluate", "search"]

from typing import Any

import click

from embedfit.cli.options import as_json, reading
from embedfit.cli.terminal import print_json, say, show


@click.command(short_help="Measure a model on other rows.")
@click.argument("model", metavar="RUN|MODEL")
@click.argument("data", metavar="DATA")
@click.option(
    "--known",
    metavar="DATA",
    help="Rows the model may know: their documents are candidates too. By default the rows of the run.",
)
@click.option(
    "--dev",
    metavar="FILE",
    help="Pairs with scores 0 and 1 to choose the threshold on. By default the held-out rows of the run.",
)
@click.option("--against", metavar="RUN|MODEL", help="Another model: which of the two is better on these rows?")
@reading
@as_json
def evaluate(model: str, data: str, against: str | None, form: str, **more: Any) -> int:
    """Measure a model on rows it was not trained on, beside the lexical baselines, with 95 % intervals.

    Where all scores of graded rows are 0 or 1, pairs are classified: the same, or not? The threshold is chosen on
    other rows.

    \b
    embedfit evaluate runs/faq-1 exam.csv
    embedfit evaluate runs/faq-1 exam.csv --against runs/faq-2
    embedfit evaluate runs/quora-1 test.tsv --dev dev.tsv
    torchrun --nproc-per-node 4 -m embedfit evaluate runs/faq-1 exam.csv
    """
    from embedfit.cli.measuring import asked, compared, measured
    from embedfit.cli.results import comparison_table, metrics_table
    from embedfit.cli.sources import open_model
    from embedfit.judging import assist
    from embedfit.team import joined

    with joined() as team:
        models = [(name, open_model(name)) for name in (model, against) if name is not None]
        if not team.leads:
            for _, opened in models:
                assist(opened.model, team)
            return 0
        rows = asked(data, [opened for _, opened in models], **more)
        if len(models) == 1:
            found = measured(*models[0], rows, team)
            text = (metrics_table(found.values, found.metric), "", found.verdict)
            print_json(found.record()) if form == "json" else show(*text)
            return 0
        both = compared(models[0], models[1], rows, team)
        text = (comparison_table(both), "", both.verdict())
        print_json(both.to_dict()) if form == "json" else show(*text)
    return 0


@click.command(short_help="Find the nearest documents, or no answer.")
@click.argument("model", metavar="RUN|MODEL")
@click.argument("text")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many documents at most.")
@click.option("--documents", metavar="FILE", help="Search in these texts instead of the documents of the run.")
@click.option("--column", metavar="NAME", help="The column of FILE that holds the texts.")
@click.option(
    "--index",
    metavar="DIR",
    help="Search in an index that `encode --index` wrote; --documents is then the file that was encoded.",
)
@click.option(
    "--fuse", is_flag=True, help="Add TF-IDF scores to the model's, with the weight chosen on the run's held-out rows."
)
@as_json
def search(model: str, text: str, index: str | None, form: str, **wanted: Any) -> int:
    """Find the nearest documents to TEXT, or no answer below the run's threshold (exit status 1).

    \b
    embedfit search runs/faq-1 "where is my parcel?"
    embedfit search runs/faq-1 "where is my parcel?" --fuse
    embedfit search runs/faq-1 "where is my parcel?" --index documents.index --documents documents.csv
    """
    from embedfit.cli.embedding import open_index
    from embedfit.cli.searching import find
    from embedfit.cli.sources import open_model

    made = None if index is None else open_index(index, model)
    found = find(open_model(model), text, index=made, **wanted)
    if form == "json":
        print_json(found.to_dict())
    else:
        show(*found.lines())
        say(found.remark(), style="dim")
    return 0 if found.answered else 1


@click.command(short_help="Write embeddings, and a FAISS index if asked.")
@click.argument("model", metavar="RUN|MODEL")
@click.argument("file", metavar="FILE")
@click.option(
    "-o", "--out", required=True, metavar="FILE", help="Where the embeddings go: .npy, or .parquet with the texts."
)
@click.option("--column", metavar="NAME", help="The column that holds the texts, where its name does not say it.")
@click.option(
    "--role",
    type=click.Choice(["query", "document"]),
    default="document",
    show_default=True,
    help="Which tower embeds them.",
)
@click.option("--index", metavar="DIR", help="Also write a FAISS index, checked against texts encoded afresh.")
@click.option(
    "--index-kind",
    "kind",
    type=click.Choice(["auto", "flat", "ivf", "pq", "hnsw"]),
    default="auto",
    show_default=True,
    help="flat is exact; the others look at a part of the documents, and say with which recall. auto goes by the size.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
def encode(model: str, file: str, out: str, role: Any, index: str | None, kind: Any, **how: Any) -> int:
    """Write the embeddings of the texts of FILE (a table, or a .txt file with one text per line), one row per text.

    \b
    embedfit encode runs/faq-1 documents.csv -o documents.npy --index documents.index
    torchrun --nproc-per-node 4 -m embedfit encode runs/faq-1 shards/ -o documents.npy
    """
    from embedfit.cli.embedding import encode_file, texts_for
    from embedfit.team import joined

    texts, path = texts_for(file, out, **how)
    with joined() as team:
        encode_file(model, texts, path, role=role, index=index, kind=kind, team=team)
    return 0
