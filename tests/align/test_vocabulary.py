"""Every finding about spaces and teachers: a sick case in which it fires, and a healthy one in which it is quiet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from spaces import noise, pairs, turned, unit

from embedfit.align import align, check_teacher
from embedfit.align.vocabulary import VOCABULARY
from embedfit.data.audit_finding import DataFinding

WORDS = ["card", "loan", "transfer", "pin", "rate", "fee", "top", "cash", "refund", "lost"]
Findings = list[DataFinding]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedfit.align.exam.STEPS", 40)
    monkeypatch.setattr("embedfit.align.maps.HIDDEN", 32)


def aligned(x: np.ndarray, y: np.ndarray) -> Findings:
    return list(align(pairs(x, y)).findings)


def healthy() -> Findings:
    return aligned(*turned(n=200))


def unrelated() -> Findings:
    return aligned(unit(noise(200, 8, 3)), unit(noise(200, 8, 4)))


def entangled() -> Findings:
    x = unit(noise(300, 2, 5))
    angle = 6 * np.arctan2(x[:, 1], x[:, 0])  # six times round: too wound up for so few pairs
    return aligned(x, np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32))


def weak() -> Findings:
    x = unit(noise(600, 10, 7))
    return aligned(x, unit(0.5 * x[:, :6] + noise(600, 6, 8) / 6))


def swapped() -> Findings:
    x, y = turned(n=300, off=0.02)
    y[:40] = y[np.roll(np.arange(40), 1)]
    return aligned(x, y)


def far(side: int) -> Findings:
    x = noise(200, 5, 9)
    both = [x, (x @ noise(5, 5, 10)).astype(np.float32)]
    both[side][7] *= 300
    return aligned(*both)


def long() -> Findings:
    x, y = turned(n=200)
    return aligned(x, 10 * y)


def wide() -> Findings:
    y = unit(noise(200, 12, 11))
    return aligned(y[:, :3].copy(), y)


def few() -> Findings:
    return aligned(*turned(n=60, e=16))


def repeated(side: int) -> Findings:
    both = list(turned(n=200))
    both[side][:50] = both[side][50:100]
    return aligned(*both)


def taught(*, shuffled: bool = False, shaken: bool = False) -> Findings:
    """Texts of three words and the sums of their vectors; every fifth text comes twice."""
    rng = np.random.default_rng(0)
    rows = [rng.choice(len(WORDS), 3, replace=False) for _ in range(250)]
    rows += rows[::5]
    vectors = unit(np.stack([noise(len(WORDS), 12, 1)[row].sum(0) for row in rows]))
    if shuffled:
        vectors = vectors[rng.permutation(len(vectors))]
    if shaken:
        vectors = unit(vectors + 0.1 * noise(len(vectors), 12, 2))
    return check_teacher([" ".join(WORDS[i] for i in row) for row in rows], vectors)


CASES: dict[str, tuple[Callable[[], Findings], Callable[[], Findings]]] = {
    "no_mapping": (unrelated, healthy),
    "no_map_found": (entangled, healthy),
    "weak_mapping": (weak, healthy),
    "mismatched_rows": (swapped, healthy),
    "outliers_source": (lambda: far(0), healthy),
    "outliers_target": (lambda: far(1), healthy),
    "norm_mismatch": (long, healthy),
    "unreachable_target": (wide, healthy),
    "few_pairs": (few, healthy),
    "repeated_source": (lambda: repeated(0), healthy),
    "repeated_target": (lambda: repeated(1), healthy),
    "unreliable_teacher": (lambda: taught(shuffled=True), taught),
    "noisy_teacher": (lambda: taught(shaken=True), taught),
}


def test_every_word_has_its_cases() -> None:
    assert set(CASES) == set(VOCABULARY)


@pytest.mark.parametrize("name", list(CASES))
def test_a_finding_fires_in_the_sick_case_and_is_quiet_in_the_healthy_one(name: str) -> None:
    sick, sound = CASES[name]
    assert name in {finding.name for finding in sick()}
    assert name not in {finding.name for finding in sound()}
    assert {finding.name for finding in sound()} <= set(VOCABULARY)
