from __future__ import annotations

import pytest

from embedfit.evaluate.verdict import Finding, verdict
from embedfit.metrics import Interval


def near(value: float, half: float = 0.02) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def finding(**changes) -> Finding:
    usual = {
        "metric": "recall@10",
        "kind": "pairs",
        "value": near(0.8),
        "chance": 0.01,
        "queries": 500,
        "candidates": 900,
    }
    return Finding(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "says", "does_not_say"),
    [
        ({}, "recall@10 is 0.800 (0.780 to 0.820) on 500 held-out queries among 900 candidates.", "TF-IDF"),
        ({"value": near(0.02)}, "no better than chance (0.010)", "beats"),
        ({"lexical": near(0.7), "gain": near(0.1)}, "It beats TF-IDF (0.700) by 0.100", "pretrained"),
        (
            {"lexical": near(0.9), "gain": near(-0.1)},
            "TF-IDF without any training does better (0.900, by 0.100)",
            "as well",
        ),
        ({"lexical": near(0.8), "gain": near(0.0)}, "may be chance", "better"),
        ({"lexical": near(0.8), "gain": near(0.0), "fused": near(0.87)}, "reaches 0.870", "does not help"),
        (
            {"lexical": near(0.8), "gain": near(0.0), "fused": near(0.87)},
            '`embedfit search RUN "text" --fuse`',
            "not help",
        ),
        ({"kind": "graded", "lexical": near(0.8), "gain": near(0.0), "fused": near(0.87)}, "reaches 0.870", "--fuse"),
        ({"lexical": near(0.7), "gain": near(0.1), "fused": near(0.87), "fused_gain": near(0.07)}, "--fuse", "help"),
        ({"lexical": near(0.7), "gain": near(0.1), "fused": near(0.81), "fused_gain": near(0.01)}, "beats", "--fuse"),
        ({"lexical": near(0.9), "gain": near(-0.1), "fused": near(0.9)}, "does not help", "reaches"),
        ({"lexical": near(0.9), "gain": near(-0.1)}, "or give more examples.", "adding TF-IDF"),
        ({"lexical": near(0.99), "value": near(0.99), "gain": near(0.0)}, "ceiling", "pretrained"),
        ({"lexical": near(0.99), "value": near(0.99), "gain": near(0.0), "kind": "graded"}, "hold out harder", "mrr"),
        (
            {"lexical": near(0.7), "gain": near(0.1), "svm": near(0.9), "svm_gain": near(-0.1)},
            "a linear SVM on TF-IDF does better (0.900)",
            "as well",
        ),
        ({"value": near(0.8, 0.15), "queries": 12}, "12 held-out rows are too few", "leak"),
        ({"leaked": 40}, "40 of the queries are word for word", "few"),
        ({"unanswerable": 3}, "3 queries cannot be answered", "few"),
        ({"unjudged": 2}, "2 queries have no relevant document", "few"),
        ({"kind": "graded", "candidates": 0, "metric": "spearman"}, "500 held-out pairs.", "candidates"),
    ],
)
def test_the_verdict_says_what_was_found(changes, says, does_not_say):
    said = verdict(finding(**changes))
    assert says in said
    assert does_not_say not in said
    assert said.endswith(".")
