"""Training of a scorer: the batches, identities, losses and optimiser of two towers, without their embeddings."""

from __future__ import annotations

__all__ = ["fit_scorer"]

import math
from contextlib import ExitStack

import torch
from torch import Tensor

from embedfit.data.batches import batch, rows_of
from embedfit.data.examples import examples
from embedfit.errors import DataError, NonFiniteLossError
from embedfit.interaction.scorers import Scorer
from embedfit.losses import Diameter, Loss
from embedfit.optim import Optimiser, factor, groups
from embedfit.pairs import Pairs
from embedfit.scores import Doubtful, Known, Scores, marked
from embedfit.types import Batch

WARMUP, DECAY, LONGEST = 0.06, 0.01, 1.0


def fit_scorer(
    scorer: Scorer, pairs: Pairs, loss: Loss, *, rate: float, steps: int, batch_size: int = 32, seed: int = 0
) -> list[float]:
    """Train a scorer in place with AdamW, a warmup and a linear fall of the learning rate.

    Graded pairs are read one to one. Of all other kinds every query of a batch meets every document of it, known
    positives, equal texts and texts of its class left out; a cross-encoder reads batch_size^2 pairs for that.

    Args:
        scorer: is trained, on the device where it lies.
        pairs: the training rows.
        loss: for graded pairs one of their losses, else one of rows; is moved to the scorer.
        rate: highest learning rate.
        steps: how many.
        batch_size: queries of a step.
        seed: of the order of the rows and of dropout.

    Returns:
        The loss of each step.

    Raises:
        DataError: nothing to learn from, or a margin by the diameter, which needs embeddings.
        NonFiniteLossError: the loss of a step or its gradient is not finite; the weights are those of the step before.
    """
    data = examples(pairs, prototypes=False)
    if steps < 1:
        raise DataError(f"{steps} steps train nothing", hint="give at least one")
    if any(isinstance(part, Diameter) for part in loss.modules()):
        raise DataError(
            "a margin by the diameter needs embeddings, whose width it measures; a scorer has none",
            hint="take Additive or another margin",
        )
    query_tokens, document_tokens = scorer.tokenize(data.query_texts), scorer.tokenize(data.document_texts)
    known = None
    if data.target is None:
        known = Known(data.query_id[data.query], data.document_id[data.positive]).to(scorer.device)
    loss.to(scorer.device)
    mover = Optimiser(groups({"query": scorer, "loss": loss}, weight_decay=DECAY), betas=(0.9, 0.999))
    out = []
    was = scorer.training
    scorer.train()
    with torch.random.fork_rng(), ExitStack() as after:
        after.callback(scorer.train, was)
        torch.manual_seed(seed)
        for step in range(steps):
            loss.at(step / steps)
            rows = rows_of(step, len(data), batch_size=batch_size, seed=seed)
            made = batch(data, query_tokens, document_tokens, rows, draw=(seed, step)).to(scorer.device)
            value = (loss(_scores(scorer, made, known)) * made.weight / made.weight.sum()).sum()
            out.append(value.item())
            if not math.isfinite(out[-1]):
                raise NonFiniteLossError(
                    f"the loss of step {step} is {out[-1]}", rows=rows.tolist(), hint="lower the learning rate"
                )
            rate_now = rate * factor(step, total=steps, warmup=round(WARMUP * steps), kind="linear")
            norm = _move(mover, value, rate_now)
            if not math.isfinite(norm):
                raise NonFiniteLossError(
                    f"the gradient of step {step} is {norm} at a loss of {out[-1]:.4g}",
                    rows=rows.tolist(),
                    hint="the weights are still those of the step before: lower the learning rate",
                )
    return out


def _move(mover: Optimiser, value: Tensor, rate: float) -> float:
    """Norm of the gradient; nothing is moved, and no gradient kept, where it is not finite."""
    if not value.requires_grad:  # a loss may be a constant (CoSENT of equal grades)
        return 0.0
    value.backward()
    norm = mover.clip(LONGEST)
    if math.isfinite(norm):
        mover.step(rate)
    else:
        for parameter in mover.parameters:
            parameter.grad = None
    return norm


def _scores(scorer: Scorer, made: Batch, known: Known | None) -> Scores:
    if made.target is not None:
        values = scorer.paired(made.query, made.document.select(made.positive))[:, None]
        yes = torch.ones_like(values, dtype=torch.bool)
        return Scores(values, yes, yes, made.target.to(values)[:, None])
    values = scorer.crossed(made.query, made.document)
    return marked(values, made.positive, Doubtful.of(made, known))
