"""The contestants of the training rows do the same: equal models, equal losses."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
import torch

from embedfit.data.batches import batch
from embedfit.engine.setup import prepare
from embedfit.engine.step import loss_of
from embedfit.pairs import Pairs
from embedfit.recipe import Recipe, patch

sbert = pytest.importorskip("benchmarks.speed.sbert", reason="sentence-transformers is absent (extra test)")

PAIRS = [  # partners that do not belong together, so that the loss of a pretrained model is not next to nothing
    ("where is my card", "please cancel the whole order"),
    ("how do I cancel", "noise from the brakes"),
    ("the brakes squeak when it rains", "can I use another charger than the one that came with it"),
    ("which charger fits", "my card has not come yet"),
]
TEXTS = [text for pair in PAIRS for text in pair]


def setup_of(model: str):
    change = {
        "model.kind": model,
        "loss.kind": "infonce",
        "loss.temperature": 1 / sbert.SCALE,
        "loss.label_smoothing": 0.0,
        "optim.batch_size": len(PAIRS),
        "optim.length": "4 steps",
        "run.precision": "fp32",
    }
    table = pl.DataFrame(PAIRS, schema=["query", "positive"], orient="row")
    return prepare(Pairs(kind="pairs", table=table), patch(Recipe(), change))


@pytest.mark.parametrize("model", ["static", "gru", "minilm"])
def test_both_embed_texts_alike_and_have_the_same_loss(model: str, request: pytest.FixtureRequest) -> None:
    kind = request.getfixturevalue("minilm") if model == "minilm" else model
    make: Callable = sbert.MODELS[model]
    setup = setup_of(kind)
    texts = list(dict.fromkeys([a for a, _ in PAIRS] + [b for _, b in PAIRS]))
    peer = make(texts)
    theirs = torch.from_numpy(peer.encode(TEXTS, normalize_embeddings=True))
    ours = torch.from_numpy(setup.objective.model.encode(TEXTS, role="query"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)

    material = setup.material
    made = batch(material.data, material.query_tokens, material.document_tokens, torch.arange(len(PAIRS)))
    columns = [list(column) for column in zip(*PAIRS, strict=True)]
    peer.eval()
    loss = sbert.contrastive(peer)([peer.preprocess(column) for column in columns], None)
    assert loss.item() == pytest.approx(loss_of(setup.objective, made), rel=1e-3)
