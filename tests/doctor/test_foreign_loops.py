"""The doctor in loops as people write them: it survives their ways, changes nothing and still sees the loss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed import FileStore, HashStore, destroy_process_group, init_process_group
from torch.nn.functional import cross_entropy, normalize, triplet_margin_loss
from torch.nn.parallel import DistributedDataParallel

from embedfit.doctor import Outcome
from embedfit.doctor.attend import Doctor

ROWS = torch.randn(24, 32, 16, generator=torch.Generator().manual_seed(0))
LETTERS = "abcdefghijklmnop"


class Towers(nn.Module):
    """Both towers in one module, as DDP wants it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 8))
        self.document = nn.Linear(16, 8)

    def forward(self, x: Any, y: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(x, list):  # texts: one number for each letter
            x, y = (torch.tensor([[float(t.count(c)) for c in LETTERS] for t in texts]) for texts in (x, y))
        return self.query(x), self.document(y)


def softmax(query: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
    scores = normalize(query, dim=-1) @ normalize(document, dim=-1).T
    return cross_entropy(scores.float() / 0.05, torch.arange(len(query)))


Observe = Callable[..., None]


def accumulated(model: nn.Module, optimizer: Any, observe: Observe) -> None:
    for k, x in enumerate(ROWS):
        query, document = model(x, x + 0.1)
        loss = softmax(query, document) / 4
        loss.backward()
        observe(query=query, document=document, loss=loss)
        if k % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


def autocast(model: nn.Module, optimizer: Any, observe: Observe) -> None:
    for x in ROWS:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            query, document = model(x, x + 0.1)
            loss = softmax(query, document)
        optimizer.zero_grad()
        loss.backward()
        observe(query=query, document=document, loss=loss)
        optimizer.step()


def several_losses(model: nn.Module, optimizer: Any, observe: Observe) -> None:
    for x in ROWS:
        query, document = model(x, x + 0.1)
        first = softmax(query, document)
        second = triplet_margin_loss(query, document, document.roll(1, 0), margin=0.2)
        optimizer.zero_grad()
        loss = first + 0.1 * second
        loss.backward()
        observe(query=query, document=document, loss=loss)
        optimizer.step()


def texts(model: nn.Module, optimizer: Any, observe: Observe) -> None:
    for x in ROWS:
        words = ["".join(LETTERS[i] for i in row.abs().topk(5).indices) for row in x]
        query, document = model(words, [word[:4] for word in words])
        loss = softmax(query, document)
        optimizer.zero_grad()
        loss.backward()
        observe(query=query, document=document, loss=loss)
        optimizer.step()


def clipped_and_scheduled(model: nn.Module, optimizer: Any, observe: Observe) -> None:
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    for x in ROWS:
        optimizer.zero_grad(set_to_none=False)
        query, document = model(x, x + 0.1)
        loss = softmax(query, document)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        observe(query=query.detach(), document=document.detach(), loss=loss.detach())
        optimizer.step()
        schedule.step()


def plain(model: nn.Module, optimizer: Any, observe: Observe) -> None:
    for x in ROWS:
        query, document = model(x, x + 0.1)
        loss = softmax(query, document)
        optimizer.zero_grad()
        loss.backward()
        observe(query=query, document=document, loss=loss)
        optimizer.step()


LOOPS = [accumulated, autocast, several_losses, texts, clipped_and_scheduled, plain]


def trained(loop: Any, wrap: Callable[[nn.Module], nn.Module] = lambda model: model, *, watched: bool) -> Any:
    """Weights at the end, random state at the end, and the doctor, if there was one."""
    model = Towers()
    whole = wrap(model)
    optimizer = torch.optim.AdamW(whole.parameters(), lr=3e-3)
    torch.manual_seed(7)
    doctor = Doctor(whole, optimizer) if watched else None
    loop(whole, optimizer, doctor.observe if doctor else lambda **given: None)
    state = torch.get_rng_state()
    return [p.detach().clone() for p in model.parameters()], state, doctor


def same(mine: Any, theirs: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(mine[0], theirs[0], strict=True)) and torch.equal(mine[1], theirs[1])


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_of_any_kind_ends_as_it_would_unwatched_and_is_not_accused(loop: Any) -> None:
    watched, alone = trained(loop, watched=True), trained(loop, watched=False)
    assert same(watched, alone)
    found = watched[2].diagnose()
    assert not found.having(Outcome.ISSUE, Outcome.FAILED), str(found)
    assert same(watched, alone)  # the diagnosis changed nothing either
    watched[2].close()


def test_the_loss_of_a_loop_is_seen_through_the_peculiarities() -> None:
    for loop in (accumulated, autocast, texts, plain):
        facts = trained(loop, watched=True)[2].record.facts
        assert facts["trace.kind"] == "softmax", loop.__name__
        assert facts["trace.scale"] == pytest.approx(20, rel=0.05), loop.__name__
        assert facts["trace.candidates"] == 32, loop.__name__


def alone_in_a_process(*words: str) -> subprocess.Popen[str]:
    """This file as a program: type checks of the test suite would be compiled into the model, too."""
    return subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_compiled_model_ends_as_it_would_unwatched() -> None:
    with alone_in_a_process("compiled") as process:
        assert process.communicate()[0].splitlines() == ["same", "softmax"]


@pytest.mark.slow
def test_each_of_two_processes_ends_as_it_would_unwatched(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    with alone_in_a_process("shared", "0", store) as first, alone_in_a_process("shared", "1", store) as second:
        told = [process.communicate(timeout=300)[0].splitlines() for process in (first, second)]
    assert told == [["same", "softmax"]] * 2


@pytest.fixture
def process_group() -> Iterator[None]:
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.parametrize("loop", [plain, accumulated], ids=lambda loop: loop.__name__)
def test_a_model_wrapped_for_many_processes_ends_as_it_would_unwatched(loop: Any, process_group: None) -> None:
    watched, alone = (trained(loop, DistributedDataParallel, watched=flag) for flag in (True, False))
    assert same(watched, alone)
    found = watched[2].diagnose()
    assert not found.having(Outcome.ISSUE, Outcome.FAILED), str(found)
    assert watched[2].record.facts["parameters.forgotten"] == 0.0
    watched[2].checkup()
    assert same(watched, alone)
    watched[2].close()


def main(way: str, rank: str = "0", store: str = "") -> None:
    """Train watched and unwatched, compiled or as one of two processes, and say what came of it."""
    wrap: Any = lambda model: torch.compile(model, backend="eager")  # noqa: E731
    if way == "shared":
        init_process_group("gloo", store=FileStore(store, 2), rank=int(rank), world_size=2)
        wrap = DistributedDataParallel
        ROWS.copy_(ROWS.roll(int(rank), 0))
    watched, alone = (trained(plain, wrap, watched=flag) for flag in (True, False))
    found = watched[2].diagnose()
    said = "same" if same(watched, alone) and not found.having(Outcome.ISSUE, Outcome.FAILED) else found
    sys.stdout.write(f"{said}\n{watched[2].record.facts['trace.kind']}\n")
    if way == "shared":
        destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
