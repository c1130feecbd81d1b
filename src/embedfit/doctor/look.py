"""What can be seen of a program in a few steps of it: facts for the checks, by name."""

from __future__ import annotations

__all__ = ["look", "loss_facts", "optimiser_facts"]

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from embedfit.doctor.inputs import of_inputs
from embedfit.doctor.kin import of_negatives
from embedfit.doctor.material import Material
from embedfit.doctor.program import Build, Evaluates, Program, Updates
from embedfit.doctor.untrained import untrained
from embedfit.probes.floor import infonce_chance, infonce_floor
from embedfit.probes.metamorphic import Replay, demands
from embedfit.probes.pairing import crowding, features, relation
from embedfit.probes.rows import Column, Table, distinct, table
from embedfit.probes.state import same_random_numbers
from embedfit.probes.step import coupled_rows, watch_update
from embedfit.probes.terms import Terms
from embedfit.probes.trace import DROPOUT, Anatomy, Call, Listener, anatomy

Facts = dict[str, Any]


def look(build: Build, material: Material) -> Facts:
    """Facts about a program: its loss taken apart, two updates watched, its rows compared, its metric tried."""
    with same_random_numbers(0):
        program = build(seed=0)
        facts = {**optimiser_facts(program.model, program.optimizer), **of_rows(material)}
        facts |= untrained(program, material) | of_inputs(program, material)
        facts |= of_metric(program) | of_negatives(program, material)
        facts |= of_demands(program, material)
        facts |= of_steps(program, material)
    if "chosen.temperature" not in facts and _ranks_pairs(facts):
        # a softmax that the trace could not read: its levels are known all the same
        facts |= {"loss.floor": max(0.0, facts["demand.ideal"]), "loss.chance": facts["demand.collapsed"]}
    return facts


def _ranks_pairs(facts: Facts) -> bool:
    """Whether the loss is a softmax over unit vectors that wants the pairs as they are."""
    form = facts.get("demand.form") == "softmax" and facts["demand.scale_free"] and facts["demand.row_free"]
    return form and facts["demand.own_pull"] > 0.9 and facts["demand.ideal"] < facts["demand.wrong"]


def optimiser_facts(model: nn.Module, optimizer: Optimizer, meant: Callable[[str], bool] = lambda name: False) -> Facts:
    """What the optimiser knows of the parameters.

    Args:
        model: of the parameters.
        optimizer: that should hold them.
        meant: whether a parameter of this name is meant to stand still.
    """
    named = list(model.named_parameters())
    known = [p for group in optimizer.param_groups for p in group["params"]]
    ids = {id(p) for p in known}
    forgotten = [name for name, p in named if p.requires_grad and id(p) not in ids and not meant(name)]
    frozen = [name for name, p in named if not p.requires_grad and p.is_floating_point() and not meant(name)]
    total = sum(p.numel() for _, p in named) or 1
    size = {name: p.numel() for name, p in named}
    own = {id(p) for _, p in named}
    groups = optimizer.param_groups
    single = [g for g in groups if any(p.numel() == 1 for p in g["params"])]
    return {
        "model.parameters": total,
        "parameters.forgotten": sum(size[n] for n in forgotten) / total,
        "parameters.forgotten_names": forgotten[:8],
        "parameters.frozen": sum(size[n] for n in frozen) / total,
        "parameters.frozen_names": frozen[:8],
        "parameters.foreign": sum(id(p) not in own for p in known),
        "optimiser.name": type(optimizer).__name__,
        "optimiser.rate": max(float(g["lr"]) for g in groups),
        "optimiser.decay": max(float(g.get("weight_decay", 0.0)) for g in groups),
        "optimiser.decays_scale": any(float(g.get("weight_decay", 0.0)) > 0 for g in single),
        "dropout.rate": max([m.p for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)] or [0.0]),
    }


def of_demands(program: Program, material: Material) -> Facts:
    """What the loss asks of embeddings, tried on the first batch; nothing where its step cannot be run again."""
    program.model.train()
    try:
        replay = Replay(partial(program.train_step, material.batches[0]))
        found = demands(replay)
    except (ValueError, RuntimeError, TypeError, IndexError, KeyError):  # a stranger's step may take none but its own
        return {}
    return {f"demand.{name}": value for name, value in asdict(found).items()} | {
        "demand.trained_documents": replay.trained["document"]
    }


def of_steps(program: Program, material: Material) -> Facts:
    """The loss of a step taken apart, and two updates watched."""
    modes: list[tuple[str, bool]] = []
    hooks = [
        module.register_forward_pre_hook(lambda m, _: modes.append((type(m).__name__, m.training)))
        for module in program.model.modules()
        if isinstance(module, nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm)
        and (not isinstance(module, nn.modules.dropout._DropoutNd) or module.p > 0)
    ]
    program.model.train()
    with Listener() as listener:
        out = program.train_step(material.batches[0])
    for hook in hooks:
        hook.remove()
    loss = out["loss"]
    facts = loss_facts(listener.calls, out["query"], out["document"], loss)
    facts["mode.evaluating"] = sum(not training for _, training in modes) / len(modes) if modes else 0.0
    if loss.requires_grad and bool(torch.isfinite(loss)):
        facts |= _of_updates(program, material, loss)
    return facts


def loss_facts(calls: Sequence[Call], query: Tensor, document: Tensor, loss: Tensor) -> Facts:
    """What one traced step says of its loss.

    Args:
        calls: that were heard.
        query: embeddings [n, e].
        document: embeddings [m, e].
        loss: of the step; with its graph, or after backward, which leaves some facts unknown.
    """
    return _of_loss(anatomy(calls, query, document)) | {
        "trace.negatives": coupled_rows(loss, query, document),
        "trace.loss": float(loss.detach()),
        "mode.gradient": bool(loss.requires_grad),
        "mode.query_gradient": bool(query.requires_grad),
        "mode.document_gradient": bool(document.requires_grad),
        "dropout.called": any(c.name in DROPOUT for c in calls),
        "precision.halved": any(map(_is_half, calls)) or query.dtype in (torch.float16, torch.bfloat16),
        "trace.rows": len(query),
        "trace.documents": len(document),
        "model.dimension": query.shape[-1],
    }


def _of_updates(program: Program, material: Material, loss: Tensor) -> Facts:
    update = program.update if isinstance(program, Updates) else _plain(program)
    first = watch_update(program.model, program.optimizer, loss, update)
    moves = [first]
    for batch in (*material.batches[1:4], *material.batches[:1])[:3]:
        again = program.train_step(batch)["loss"]
        if again.requires_grad and bool(torch.isfinite(again)):
            moves.append(watch_update(program.model, program.optimizer, again, update))
    stepping = [m for m in moves if m.steps]
    names = set(first.unmoved).intersection(*[set(m.unmoved) for m in moves])
    sizes = {n: p.numel() for n, p in program.model.named_parameters()}
    last = stepping[-1] if stepping else moves[-1]
    # nothing can be compared where the optimiser holds none of the model's parameters
    compared = [m for m in stepping if not math.isnan(m.lost)]
    return {
        "update.steps": len(stepping) / len(moves),
        "update.alignment": min([m.alignment for m in compared], default=None),
        "update.ratio": None if math.isnan(last.ratio) else last.ratio,
        "update.lost": max([m.lost for m in compared], default=None),
        "update.norm": first.norm,
        "update.moved": last.moved,
        "update.rate": last.rate,
        "update.first_rate": moves[0].rate,
        "parameters.unmoved": sum(sizes[n] for n in names) / max(1, sum(sizes.values())),
        "parameters.unmoved_names": sorted(names)[:8],
    }


def _of_loss(found: Anatomy) -> Facts:
    facts: Facts = {f"trace.{name}": value for name, value in asdict(found).items()}
    if found.kind == "softmax" and found.similarity == "cosine" and found.candidates >= 2 and found.scale > 0:
        facts |= {
            "chosen.temperature": 1 / found.scale,
            "chosen.candidates": round(found.candidates),
            "loss.floor": infonce_floor(found.candidates, 1 / found.scale),
            "loss.chance": infonce_chance(found.candidates),
        }
    return facts


def of_rows(material: Material) -> Facts:
    """The rows of the batches compared: whether sides belong together, batches are mixed, entries repeat."""
    if material.pool is None:
        return {}
    tables = [table(batch, material.rows_of(batch)) for batch in material.batches[:60]]
    tables = [t for t in tables if t.rows == material.size]
    sides = [
        [features([t.columns[n] for n in names], t.rows) for t in tables]
        for names in (material.query, material.document)
    ]
    facts: Facts = {}
    if len(tables) >= 4:
        related = relation(*sides)
        facts |= {f"pairing.{name}": value for name, value in asdict(related).items()}
        mixed = [material.pool.take(torch.randperm(material.pool.rows, generator=torch.Generator().manual_seed(i))[
            : material.size].tolist()) for i in range(len(tables))]  # fmt: skip
        random = [features([t.columns[n] for n in material.document], t.rows) for t in mixed]
        facts["order.crowding"] = crowding(sides[1]) - crowding(random)
    numbers = [material.numbers(t) for t in tables]
    cells = material.size * (material.size - 1)
    same = [float(((q[:, None] == q) | (d[:, None] == d)).sum() - len(q)) / cells for q, d in numbers]
    pairs = [distinct([torch.stack([q, d], 1)], len(q)) for q, d in numbers]
    constant = [_constant(material.pool.columns[n]) for n in dict.fromkeys([*material.query, *material.document])]
    return facts | {
        "inputs.constant": max([c for c in constant if c is not None] or [0.0]),
        "rows.same": sum(same) / len(same),
        "rows.repeated": sum(1 - len(p.unique()) / len(p) for p in pairs) / len(pairs),
        "rows.seen": material.pool.rows,
        "rows.bare": all(_bare(material.pool, names) for names in (material.query, material.document)),
        "rows.distinct_queries": len(material.numbers(material.pool)[0].unique()),
        "rows.distinct_documents": len(material.numbers(material.pool)[1].unique()),
    }


def _bare(rows: Table, names: Sequence[str]) -> bool:
    """Whether a side is nothing but an id, of which nothing is known before it was seen in training."""
    for column in (rows.columns[name] for name in names):
        entries = column if isinstance(column, list) else [column[:1].reshape(-1).tolist()[0]]
        single = isinstance(column, list) or column[0].reshape(-1).shape[0] == 1
        if not single or not all(isinstance(entry, int) for entry in entries):
            return False
    return True


def _constant(column: Column) -> float | None:
    """Share of the positions of an input that are the same in every row; None for what has no positions."""
    if isinstance(column, list) or column.ndim < 2:
        return None
    flat = torch.as_tensor(column).reshape(len(column), -1)
    return float((flat == flat[:1]).all(0).float().mean())


def of_metric(program: Program) -> Facts:
    """The author's metric, asked twice: it should say the same and change nothing."""
    if not isinstance(program, Evaluates):
        return {}
    modes: list[bool] = []
    watched = [
        m
        for m in program.model.modules()
        if isinstance(m, nn.modules.dropout._DropoutNd | nn.modules.batchnorm._BatchNorm)
    ]
    hooks = [m.register_forward_pre_hook(lambda module, _: modes.append(module.training)) for m in watched]
    with same_random_numbers():
        first = float(program.evaluate())
        with Terms() as terms:
            second = float(program.evaluate())
    for hook in hooks:
        hook.remove()
    return {"evaluation.first": first, "evaluation.apart": abs(first - second), "evaluation.training": any(modes),
            "evaluation.kind": terms.kind(second) or None}  # fmt: skip


def _plain(program: Program) -> Any:
    def update(loss: Tensor) -> None:
        program.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        program.optimizer.step()

    return update


def _is_half(call: Any) -> bool:
    return call.result is not None and call.result.dtype in (torch.float16, torch.bfloat16)
