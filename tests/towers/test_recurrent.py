from __future__ import annotations

import pytest
import torch
from small_towers import TEXTS, Make

from embedfit.towers import Recurrent


def recurrent(make: Make, kind: str, **sizes: object) -> Recurrent:
    tower = make(kind, **sizes)
    assert isinstance(tower, Recurrent)
    return tower.eval()


def test_gru_is_the_projected_mean_of_both_directions(make: Make) -> None:
    tower = recurrent(make, "gru", layers=1)
    tokens = tower.tokenize(TEXTS[:1])
    words = tower.embedding(tokens.ids)
    cells = tower.cells
    states = {}
    for way, suffix in ((1, "l0"), (-1, "l0_reverse")):
        cell = torch.nn.GRUCell(32, 32)
        cell.load_state_dict(
            {f"{n}": getattr(cells, f"{n}_{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        )
        state, seen = torch.zeros(1, 32), []
        for word in words.flip(0) if way == -1 else words:
            state = cell(word[None], state)
            seen.append(state)
        states[way] = torch.cat(seen).mean(0)
    expected = tower.project(torch.cat([states[1], states[-1]]))
    torch.testing.assert_close(tower(tokens)[0], expected, atol=1e-6, rtol=1e-5)


def test_lstm_is_the_projected_state_after_the_last_word(make: Make) -> None:
    tower = recurrent(make, "lstm")
    tokens = tower.tokenize(TEXTS[:3])
    together = tower(tokens)
    for i in range(3):
        one = tokens.select(torch.tensor([i]))
        states, _ = tower.cells(tower.embedding(one.ids)[None])
        torch.testing.assert_close(together[i], tower.project(states[0, -1]), atol=1e-6, rtol=1e-5)


def test_forget_gates_start_open(make: Make) -> None:
    bias = recurrent(make, "lstm").cells.bias_ih_l0
    assert bias[32:64].tolist() == [1.0] * 32
    assert not bias[:32].any()


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_no_text_gives_no_embedding(make: Make, kind: str) -> None:
    tower = recurrent(make, kind)
    assert tower(tower.tokenize([])).shape == (0, 32)
