"""A run as training leaves it, made by hand: intents of bank customers, with a map, mistakes and hostile texts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from embedfit.probes.embedding import isotropic_singular_values, singular_values
from embedfit.probes.floor import infonce_chance, infonce_floor
from embedfit.recipe import Recipe, patch
from embedfit.run import History, Run

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)> \" ' & {{ 7*7 }} ]]>"
CHINESE = "我的银行卡丢了,怎么办?"
INTENTS = {
    "card arrival": ("Where is my new card?", "I am still waiting on my card", "How do I track my card delivery?"),
    "lost or stolen card": ("I lost my card", "My wallet was stolen", CHINESE),
    "exchange rate": ("What is your exchange rate?", "Which rates do you apply abroad?", "汇率是多少?"),
    "top-up failed": ("My top-up did not go through", "Why was my top-up denied?", "Top up is not working"),
    "change PIN": ("Where can I change my PIN?", "Can I change my PIN at an ATM?", "怎么修改密码?"),
    "transfer timing": ("How long does a transfer take?", "When will my transfer arrive?", "Transfer from China?"),
    "refund": ("I want my money back", "How do I request a refund?", "Cancel my purchase, please"),
    "verify identity": ("How do I verify my identity?", "What documents are needed?", "ID check failed"),
}
STEPS = 1600


def history() -> History:
    rng = np.random.default_rng(0)
    log = History()
    for step in range(0, STEPS, 8):
        t = step / STEPS
        learned = 1 - math.exp(-5.5 * t)
        log.add(
            step,
            {
                "loss": 4.45 * (1 - learned) + 0.25 * learned + rng.normal() * 0.09 * (0.3 + 1 - t),
                "learning_rate": 3e-3 * min(1, t / 0.06) * 0.5 * (1 + math.cos(math.pi * t)),
                "gradient_norm": 0.5 + 2.2 * math.exp(-9 * t) + rng.gamma(2, 0.08),
                "update_ratio": 2.4e-3 * (1.02 - t) * min(1, t / 0.06) + 1e-5,
                "positive/mean": 0.12 + 0.68 * learned + rng.normal() * 0.01,
                "negative/mean": 0.06 - 0.05 * learned + rng.normal() * 0.005,
                "negative/max": 0.45 + 0.27 * learned + rng.normal() * 0.03,
                "query/effective_rank": 0.2 + 0.35 * learned + rng.normal() * 0.01,
                "query/mean_direction": 0.55 * math.exp(-8 * t) + 0.12 + rng.normal() * 0.004,
                "in_batch/recall@1": min(1.0, 0.02 + 0.95 * learned + rng.normal() * 0.015),
            },
        )
    for k in range(1, 13):
        t = k / 12
        log.add(
            round(STEPS * t), {"dev/accuracy@1": 0.893 * (1 - math.exp(-4.6 * t)), "dev/loss": 0.62 + math.exp(-4 * t)}
        )
    return log


def samples() -> dict[str, object]:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(len(INTENTS), 2)) * 4
    points = []
    for k, (label, texts) in enumerate(INTENTS.items()):
        for _ in range(40):
            x, y = centres[k] + rng.normal(size=2) * 0.7
            points.append({"x": float(x), "y": float(y), "text": str(rng.choice(texts)), "label": label})
    generator = torch.Generator().manual_seed(0)
    mixing = torch.diag(torch.linspace(3, 0.2, 64))
    values = singular_values(torch.randn(320, 64, generator=generator) @ mixing)
    ks = [1, 2, 3, 5, 10, 20, 50]
    return {
        "worst": [
            {"query": "Why do I have less money than I thought?", "expected": "wrong amount of cash received",
             "got": "extra charge on statement", "score_expected": 0.21, "score_got": 0.78, "rank": 31},
            {"query": CHINESE, "expected": "lost or stolen card", "got": "change PIN",
             "score_expected": 0.35, "score_got": 0.71, "rank": 12},
            {"query": HOSTILE, "expected": "refund", "got": HOSTILE,
             "score_expected": 0.18, "score_got": 0.64, "rank": 9},
            {"query": "My transfer of yesterday evening, which I made from my old account at another bank in a "
             "hurry and without looking at the reference, has not shown up in the app yet and I begin to worry",
             "expected": "transfer not received by recipient", "got": "balance not updated after bank transfer",
             "score_expected": 0.58, "score_got": 0.63, "rank": 2},
        ],
        "left_out": [
            {"file": "questions.csv", "line": 812, "column": "text", "reason": "the cell is empty"},
            {"file": "questions.csv", "line": 4410, "column": "", "reason": "3 fields where the header has 2"},
        ],
        "map": points,
        "similarity": {
            "positive": (1 - rng.beta(2, 7, 1000)).tolist(),
            "negative": rng.normal(0.03, 0.16, 4000).tolist(),
        },
        "singular_values": values.tolist(),
        "isotropic_singular_values": list(isotropic_singular_values(320, 64)),
        "coverage_curve": [
            {"threshold": k / 50, "coverage": 1 - (k / 50) ** 2, "precision": 0.887 + 0.113 * (k / 50) ** 0.7}
            for k in range(50)
        ],
        "recall_curve": {
            "k": ks,
            "model": [1 - 0.113 * k**-0.55 for k in ks],
            "lexical": [1 - 0.19 * k**-0.45 for k in ks],
        },
    }  # fmt: skip


def example_run() -> Run:
    """Everything a report can show."""
    return Run(
        recipe=patch(
            Recipe(), {"data.files": ["questions.csv"], "data.columns": {"label": "category"}, "model.kind": "gru"}
        ),
        facts={
            "metric": "accuracy@1", "data.kind": "classes", "data.rows": 10001, "data.left_out": 2, "data.texts": 9990,
            "data.classes": 77, "data.classes_at_most_3": 0.0, "data.class_size_median": 132,
            "data.class_size_max": 187,
            "data.duplicate_rows": 3, "data.near_duplicate_rows": 8, "data.conflicting_texts": 4,
            "data.order_autocorrelation": 0.98, "data.leakage": 0.0, "data.characters_median": 47,
            "data.characters_p95": 150, "data.words_median": 10, "data.scripts": {"Latin": 0.987, "Han": 0.013},
            "data.truncated_share": 0.006, "train.shuffled": True,
            "data.findings": [
                {"name": "conflicting_texts", "severity": "watch", "sentence": "4 texts carry two labels",
                 "examples": [{"row": 17, "text": "My card fails"}, {"row": 4302, "text": "My card fails"}]},
                {"name": "class_order", "severity": "info", "sentence": "rows stand in the order of their classes",
                 "examples": []},
            ],
            "chosen.model": "gru", "chosen.loss": "prototypes", "chosen.temperature": 0.0556, "chosen.margin": 0.0,
            "chosen.candidates": 77, "chosen.learning_rate": 3e-3, "chosen.batch_size": 128, "chosen.steps": STEPS,
            "chosen.steps_per_epoch": 71, "chosen.max_tokens": 64,
            "loss.floor": infonce_floor(77, 0.0556), "loss.chance": infonce_chance(77),
            "model.parameters": 1342976, "model.dimension": 256,
            "train.seconds": 48.2, "train.best_step": 1467, "train.stopped": "finished",
        },
        history=history(),
        evaluation={
            "accuracy@1": 0.887, "accuracy@1/low": 0.867, "accuracy@1/high": 0.905,
            "lexical/accuracy@1": 0.81, "lexical/accuracy@1/low": 0.785, "lexical/accuracy@1/high": 0.833,
            "fused/accuracy@1": 0.893, "fused/accuracy@1/low": 0.874, "fused/accuracy@1/high": 0.911,
            "chance/accuracy@1": 0.013,
            "svm/accuracy@1": 0.871, "svm/accuracy@1/low": 0.849, "svm/accuracy@1/high": 0.891,
            "recall@10": 0.968, "mrr@10": 0.921, "queries": 1000, "candidates": 77, "seconds": 1.3,
            "verdict": "The model finds the right intent more often than the lexical baseline, beyond both intervals.",
        },
        samples=samples(),
        environment={"embedfit": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "threads": 2, "machine": "x86_64"},
    )  # fmt: skip


def hostile_run() -> Run:
    """The same run with markup in every text that a user can set."""
    run = example_run()
    facts = {**run.facts, "data.kind": HOSTILE, "metric": HOSTILE, "train.stopped": HOSTILE, "chosen.model": HOSTILE,
             "data.scripts": {HOSTILE: 1.0}, f"data.{HOSTILE}": HOSTILE, f"chosen.{HOSTILE}": HOSTILE,
             "data.findings": [{"name": HOSTILE, "severity": HOSTILE, "sentence": HOSTILE,
                                "examples": [{HOSTILE: HOSTILE}]}]}  # fmt: skip
    evaluation = {HOSTILE: 0.5, f"{HOSTILE}/low": 0.4, f"{HOSTILE}/high": 0.6, f"lexical/{HOSTILE}": 0.3,
                  f"lexical/{HOSTILE}/low": 0.2, f"lexical/{HOSTILE}/high": 0.4, "verdict": HOSTILE}  # fmt: skip
    log = History()
    for k in range(20):
        log.add(k, {"loss": 1.0 / (k + 1), f"dev/{HOSTILE}": k / 20, HOSTILE: 1.0})
    texts = dict(run.samples)
    texts["map"] = [{"x": 0.1, "y": k, "text": HOSTILE, "label": HOSTILE} for k in range(9)]
    texts["worst"] = [dict.fromkeys(("query", "expected", "got"), HOSTILE)]
    texts["left_out"] = [dict.fromkeys(("file", "column", "reason"), HOSTILE)]
    return replace(
        run,
        recipe=patch(run.recipe, {"data.files": [HOSTILE], "model.kind": HOSTILE}),
        facts=facts,
        history=log,
        evaluation=evaluation,
        samples=texts,
        environment={HOSTILE: HOSTILE},
    )
