"""From a recipe to the way negatives are brought to its batches, and to the teacher that is asked about them."""

from __future__ import annotations

__all__ = ["embeddings_of", "guide_for", "met", "negatives_for"]

import json
from functools import partial

import torch
from torch import Tensor

from embedfit.data.examples import Examples
from embedfit.engine.objective import OBJECTIVES
from embedfit.errors import RecipeError
from embedfit.negatives import Chances, Drawn, InBatch, Mined, Mixed, Negatives, Queue, Search, Sieve, carried
from embedfit.recipe import Duration, NegativesSection, Recipe
from embedfit.scores import Guide, Known
from embedfit.team import ALONE, Team
from embedfit.towers import Tower, TwoTower, load
from embedfit.types import Tokens

QUEUED = 16  # batches in a queue of automatic size
AMOUNTS = {"none": 0.95, "share": 0.95, "margin": 0.05}  # of a sieve, where the recipe leaves it open
USES = {
    "in_batch": (),
    "random": ("each",),
    "mixed": ("size",),
    "queue": ("size",),
    "mined": ("each", "refresh", "depth", "skip", "sieve", "amount"),
}
"""Settings of each way to bring negatives, besides those of every way."""
AT_ONCE = 1024  # texts embedded at once


def met(recipe: Recipe, data: Examples, batch_size: int) -> int:
    """Documents that a query is compared with, its positive included, were they all different."""
    wanted = recipe.negatives
    each = data.negatives.shape[1] + (wanted.each if wanted.kind in ("random", "mined") else 0)
    if wanted.meet == "own":
        return 1 + each
    shared = {"mixed": batch_size, "queue": QUEUED * batch_size}.get(wanted.kind, 0)
    return batch_size * (1 + each) + (wanted.size if shared and wanted.size != "auto" else shared)


def negatives_for(
    recipe: Recipe, data: Examples, known: Known | None, *, batch_size: int, steps_per_epoch: int, team: Team = ALONE
) -> Negatives:
    """What a recipe asks for.

    Args:
        recipe: the settings.
        data: the examples.
        known: pairs known to belong together.
        batch_size: queries in a batch.
        steps_per_epoch: for the time between searches.
        team: the processes.

    Raises:
        RecipeError: a way that these rows have no use for.
    """
    wanted, documents = recipe.negatives, len(data.document_texts)
    check(recipe, data)

    counts = carried(documents, data.positive, data.negatives)
    match wanted.kind:
        case "random":
            own = wanted.meet == "own"  # a query then meets its own draws, not those of the batch
            chances = Chances(
                counts,
                len(data),
                drawn=lambda queries: 1 - (1 - 1 / documents) ** (wanted.each * (1 if own else queries)),
                carried_too=not own,
            )
            return Drawn(documents, wanted.each, chances)
        case "mixed":
            count = min(documents, batch_size if wanted.size == "auto" else wanted.size)
            return Mixed(documents, count, Chances(counts, len(data), drawn=lambda queries: count / documents))
        case "queue":
            size = QUEUED * batch_size if wanted.size == "auto" else wanted.size
            return Queue(size, counts, data.document_id, examples=len(data))
        case "mined":
            every = Duration.steps(wanted.refresh, steps_per_epoch=steps_per_epoch, batch_size=batch_size)
            return Mined(
                data.query,
                data.positive,
                partial(doubtful, data, known),
                search=Search(each=wanted.each, depth=wanted.depth, skip=wanted.skip, every=every),
                sieve=Sieve(
                    kind=wanted.sieve,
                    amount=AMOUNTS[wanted.sieve] if wanted.amount == "auto" else wanted.amount,
                    teacher=teacher_of(wanted.teacher, data),
                ),
                team=team,
            )
    brought = data.catalogue or data.target is not None
    return InBatch(None if brought else Chances(counts, len(data)))


def check(recipe: Recipe, data: Examples) -> None:
    """Refuse what would have no effect.

    Raises:
        RecipeError: see above.
    """
    wanted, documents = recipe.negatives, len(data.document_texts)
    refuse_unused(wanted)
    asked = wanted.kind != "in_batch" or wanted.meet == "own" or wanted.teacher
    if data.catalogue and wanted.kind == "mixed" and wanted.meet == "batch" and not wanted.teacher:
        return  # prototypes of some classes, drawn for each batch
    if asked and (data.catalogue or data.target is not None):
        why = "each text is compared with the prototypes of all classes" if data.catalogue else "graded pairs have none"
        hint = 'leave negatives.kind at "in_batch"' + (', or set loss.kind = "infonce"' if data.catalogue else "")
        raise RecipeError(f"negatives are set, and {why}", hint=hint)
    if wanted.meet == "own" and wanted.kind not in ("random", "mined") and not data.negatives.shape[1]:
        raise RecipeError(
            'negatives.meet = "own", and nothing is brought for each query',
            hint='set negatives.kind to "random" or "mined", or give rows negative columns',
        )
    alone = recipe.loss.kind in OBJECTIVES and OBJECTIVES[recipe.loss.kind].alone
    if asked and alone and not any(stage.loss for stage in recipe.curriculum.stages):
        raise RecipeError(
            f"negatives are set, and the loss '{recipe.loss.kind}' looks at no other document than the positive",
            hint='leave the section negatives at its defaults, or set loss.kind = "infonce"',
        )
    if wanted.kind == "mined" and wanted.skip >= documents - 1:
        raise RecipeError(
            f"negatives.skip passes over the {wanted.skip} nearest documents, and there are {documents}: none is left",
            hint="set negatives.skip far below the number of documents; 0 passes over none",
        )


def refuse_unused(wanted: NegativesSection) -> None:
    """Refuse a setting of another way to bring negatives.

    Raises:
        RecipeError: see above.
    """
    idle = {name: f"negatives.kind '{wanted.kind}'" for uses in USES.values() for name in uses}
    for name in USES[wanted.kind]:
        del idle[name]
    if wanted.sieve == "none":
        idle["amount"] = "negatives.sieve 'none'"
    if not wanted.teacher:
        idle["teacher_margin"] = "a run without negatives.teacher"
    for name, where in idle.items():
        value, usual = getattr(wanted, name), NegativesSection.model_fields[name].default
        if value == usual:
            continue
        others = [kind for kind, uses in USES.items() if name in uses and kind != wanted.kind]
        also = f', or set negatives.kind = "{others[0]}"' if others else ""
        raise RecipeError(
            f"negatives.{name} is {json.dumps(value)}, and {where} has no use for it",
            hint=f"leave negatives.{name} at {json.dumps(usual)}{also}",
        )


def doubtful(data: Examples, known: Known | None, rows: Tensor, found: Tensor) -> Tensor:
    """True where a document may belong to the query of an example: the same text, class, or a known pair; [q, k]."""
    query = data.query[rows]
    own, asked, there = data.document_id[data.positive[rows]], data.query_id[query], data.document_id[found]
    group = data.group[rows]
    doubt = (there == own[:, None]) | (there == asked[:, None])
    doubt |= (group >= 0)[:, None] & (data.document_group[found] == group[:, None])
    if known is not None:
        doubt |= known.pairs(asked, there)
    return doubt


def teacher_of(name: str, data: Examples) -> tuple[Tensor, Tensor] | None:
    """Unit embeddings of query and document texts by a pretrained encoder; None without one."""
    if not name:
        return None
    model = load(name)
    query, document = model.encode(data.query_texts, role="query"), model.encode(data.document_texts, role="document")
    return torch.from_numpy(query), torch.from_numpy(document)


def guide_for(recipe: Recipe, data: Examples) -> Guide | None:
    """The teacher that is asked which documents of a batch may belong to a query."""
    found = teacher_of(recipe.negatives.teacher, data)
    if found is None:
        return None
    query, document = found
    count = int(torch.cat([data.query_id, data.document_id]).max()) + 1
    vectors = torch.zeros(count, query.shape[1])
    vectors[data.query_id], vectors[data.document_id] = query, document
    return Guide(vectors, recipe.negatives.teacher_margin)


@torch.no_grad()
def embeddings_of(
    model: TwoTower, query: Tokens, document: Tokens, device: torch.device, team: Team = ALONE
) -> tuple[Tensor, Tensor]:
    """Embeddings of all query and document texts by the model as it is, in evaluation mode; on the CPU.

    Each process of a team embeds a share, in the same batches as one alone would, and gets the embeddings of all.
    """
    was = model.training
    model.eval()
    try:
        return _embedded(model.query, query, device, team), _embedded(model.document, document, device, team)
    finally:
        model.train(was)


def _embedded(tower: Tower, tokens: Tokens, device: torch.device, team: Team) -> Tensor:
    batches = tokens.lengths.argsort(stable=True).split(AT_ONCE)  # texts of one length together: little padding
    shares = [torch.cat([*batches[rank :: team.size], batches[0][:0]]) for rank in range(team.size)]
    parts = [tower(tokens.select(rows).to(device)).float() for rows in batches[team.rank :: team.size]]
    own = torch.cat([*parts, torch.empty(0, tower.dimension, device=device)])
    out = torch.empty(len(tokens), tower.dimension)
    out[torch.cat(shares)] = team.gather(own.to(team.device), [len(share) for share in shares]).cpu()
    return out
