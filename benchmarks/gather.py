"""What public recipes for negatives across processes do to the gradient, beside ours.

    python -m benchmarks.gather                      two processes, writes benchmarks/results/gather.{json,md}
    python -m benchmarks.gather --processes 4 --dry  print only

Each recipe is a few lines of our own after the description of a public one, at the commit named. Two towers and a
learned temperature are trained under `DistributedDataParallel`, which averages gradients over processes. What is left
in the parameters is compared with the gradient that one process gets from the whole batch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from embedfit.engine.step import Objective, train_step
from embedfit.losses import InfoNCE, Symmetric
from embedfit.team import team_of_this_process
from embedfit.towers import Tower, TwoTower
from embedfit.types import Batch, Tokens

RESULTS = Path(__file__).parent / "results"
PAIRS, WORDS, WIDTH, SCALE = 64, 200, 32, 20.0
BIAS = -10.0  # of the sigmoid loss, as SigLIP starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A recipe's gradient against that of one process with the whole batch.

    Attributes:
        towers: norm of the towers' gradient over the norm it should have.
        cosine: of the towers' gradient to the one it should be.
        temperature: gradient of the temperature over what it should be.
        stops: the error that ends the recipe, which then has no gradient.
    """

    recipe: str
    seen: str
    towers: float | None = None
    cosine: float | None = None
    temperature: float | None = None
    stops: str = ""


class Toy(Tower):
    """Mean of word vectors, then two layers."""

    micro = 5  # so that every process gets some, and not equally many

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.dimension, self.max_tokens = WIDTH, 8
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.table = nn.Parameter(torch.randn(WORDS, WIDTH))
            self.head = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts here are numbers already."""
        raise NotImplementedError

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Texts here are numbers already."""
        raise NotImplementedError

    def forward(self, tokens: Tokens) -> Tensor:
        return self.head(F.embedding_bag(tokens.ids, self.table, tokens.starts(), mode="mean"))


class Learned(InfoNCE):
    """InfoNCE with a temperature that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp()


class Both(nn.Module):
    """The towers and the temperature as one module, as DDP wants them."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = TwoTower(Toy(0), Toy(1))
        self.loss = Learned()

    def forward(self, query: Tokens, document: Tokens) -> tuple[Tensor, Tensor, Tensor]:
        return (
            F.normalize(self.towers.query(query), dim=1),
            F.normalize(self.towers.document(document), dim=1),
            self.loss.scale,
        )


def tokens() -> tuple[Tokens, Tokens]:
    """Queries and documents; of the six words of each, three are shared by the pair."""
    draw = torch.Generator().manual_seed(3)
    query = torch.randint(WORDS, (PAIRS, 6), generator=draw)
    document = torch.cat([query[:, :3], torch.randint(WORDS, (PAIRS, 3), generator=draw)], 1)
    return Tokens.of(query.tolist()), Tokens.of(document.tolist())


class _Gathered(torch.autograd.Function):
    """Rows of all processes; going back, each process gets what all have found for its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, divisor: int) -> Tensor:
        ctx.divisor, ctx.rows = divisor, len(rows)
        return plain(rows)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        summed = gradient[0].clone()
        dist.all_reduce(summed)
        return summed.split(ctx.rows)[dist.get_rank()] / ctx.divisor, None


class _Summed(torch.autograd.Function):
    """The value itself; going back, the sum over processes."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        summed = gradient[0].clone()
        dist.all_reduce(summed)
        return summed


class _Passed(torch.autograd.Function):
    """Rows of the process to the left, for those of this one; gradients go the other way."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return exchanged(rows, 1)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        return exchanged(gradient[0], -1)


def exchanged(rows: Tensor, step: int) -> Tensor:
    """What the process `step` places before this one holds, which gives its own to the one as far behind."""
    rank, size = dist.get_rank(), dist.get_world_size()
    out = torch.empty_like(rows)
    sent = dist.P2POp(dist.isend, rows.contiguous(), (rank + step) % size)
    for work in dist.batch_isend_irecv([sent, dist.P2POp(dist.irecv, out, (rank - step) % size)]):
        work.wait()
    return out


def plain(rows: Tensor) -> Tensor:
    """Rows of all processes, through which no gradient comes back."""
    out = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(out, rows.detach().contiguous())
    return torch.cat(out)


def own_alive(rows: Tensor) -> Tensor:
    """The same, but with this process's own rows in their place, graph and all."""
    parts = list(plain(rows).split(len(rows)))
    parts[dist.get_rank()] = rows
    return torch.cat(parts)


def with_gradient(rows: Tensor) -> Tensor:
    """Rows of all processes; the gradients that all processes have for a row are summed."""
    return _Gathered.apply(rows, 1)


def with_mean_gradient(rows: Tensor) -> Tensor:
    """Rows of all processes; the gradients that all processes have for a row are averaged."""
    return _Gathered.apply(rows, dist.get_world_size())


def whole(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE of pairs that stand in the same row."""
    logits, label = scale * q @ k.T, torch.arange(len(q))
    return (F.cross_entropy(logits, label) + F.cross_entropy(logits.T, label)) / 2


def local(q: Tensor, k: Tensor, all_q: Tensor, all_k: Tensor, scale: Tensor) -> Tensor:
    """The same for this process's rows alone, against the rows of all."""
    label = torch.arange(len(q)) + dist.get_rank() * len(q)
    return (F.cross_entropy(scale * q @ all_k.T, label) + F.cross_entropy(scale * k @ all_q.T, label)) / 2


def sigmoid(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    """Every cell a question of its own, yes for pairs that stand in the same row; by query."""
    return cells(q, k, scale, 2 * torch.eye(len(q)) - 1)


def cells(q: Tensor, k: Tensor, scale: Tensor, sign: Tensor) -> Tensor:
    """Logistic loss of all cells, over the number of queries."""
    return -F.logsigmoid(sign * (scale * q @ k.T + BIAS)).sum() / len(q)


def nothing_gathered(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return whole(q, k, scale)


def own_alive_whole(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return whole(own_alive(q), own_alive(k), scale)


def own_alive_whole_multiplied(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return own_alive_whole(q, k, scale) * dist.get_world_size()


def gradient_whole(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return whole(with_gradient(q), with_gradient(k), scale)


def gradient_whole_multiplied(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return gradient_whole(q, k, scale) * dist.get_world_size()


def dead_local(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return local(q, k, plain(q), plain(k), scale)


def own_alive_local_multiplied(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return local(q, k, own_alive(q), own_alive(k), scale) * dist.get_world_size()


def gradient_local(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return local(q, k, with_gradient(q), with_gradient(k), scale)


def mean_gradient_local(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    all_q, all_k, me = with_mean_gradient(q), with_mean_gradient(k), dist.get_rank()
    return local(all_q.split(len(q))[me], all_k.split(len(k))[me], all_q, all_k, scale)


def gradient_local_temperature_summed(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    return gradient_local(q, k, _Summed.apply(scale))


def gradient_local_documents_back(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    """Of the documents' direction all rows, and labels for this process's alone."""
    all_k, label = with_gradient(k), torch.arange(len(q)) + dist.get_rank() * len(q)
    return F.cross_entropy(scale * q @ all_k.T, label) + F.cross_entropy(scale * all_k @ q.T, label)


def passed_to_neighbours(q: Tensor, k: Tensor, scale: Tensor) -> Tensor:
    loss, theirs = sigmoid(q, k, scale), k
    for _ in range(dist.get_world_size() - 1):
        theirs = _Passed.apply(theirs)
        loss = loss + cells(q, theirs, scale, -torch.ones(len(q), len(theirs)))
    return loss


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
RECIPES: dict[str, tuple[str, Loss]] = {
    "nothing gathered": ("plain DDP", nothing_gathered),
    "gathered, own rows alive; loss of the whole batch": (
        "open_clip 89fb801, default; FlagEmbedding 7ed43d6; GradCache 906f038, its loss class",
        own_alive_whole,
    ),
    "gathered, own rows alive; loss of the whole batch, times processes": (
        "Tevatron dd06310; pytorch-metric-learning 216a792, efficient=False",
        own_alive_whole_multiplied,
    ),
    "gathered with gradient; loss of the whole batch": ("open_clip, gather_with_grad", gradient_whole),
    "gathered with gradient; loss of the whole batch, times processes": (
        "contrastors 613ddfd",
        gradient_whole_multiplied,
    ),
    "gathered without gradient; loss of own rows": ("open_clip, local_loss", dead_local),
    "gathered, own rows alive; loss of own rows, times processes": (
        "pytorch-metric-learning 216a792, efficient",
        own_alive_local_multiplied,
    ),
    "gathered with gradient; loss of own rows": (
        "open_clip, local_loss and gather_with_grad; sentence-transformers 6.2.0",
        gradient_local,
    ),
    "gathered with the mean of gradients; loss of own rows": ("DisCo-CLIP f00737d", mean_gradient_local),
    "gathered with gradient; loss of own rows; temperature summed": (
        "Inf-CLIP d9f2833",
        gradient_local_temperature_summed,
    ),
    "documents gathered with gradient; their direction against own queries": (
        "contrastors 1771db5, bidirectional",
        gradient_local_documents_back,
    ),
    "passed from neighbour to neighbour with gradient; sigmoid loss of own rows": (
        "open_clip 89fb801, SigLIP",
        passed_to_neighbours,
    ),
}
WANTED: dict[str, Loss] = {"passed from neighbour to neighbour with gradient; sigmoid loss of own rows": sigmoid}
OURS = "embedfit"


def gradients(both: Both) -> tuple[Tensor, Tensor]:
    """Of the towers, end to end, and of the temperature; they are dropped from the parameters."""
    assert both.loss.log_scale.grad is not None
    found = torch.cat([p.grad.flatten() for p in both.towers.parameters() if p.grad is not None])
    scale = both.loss.log_scale.grad
    both.zero_grad(set_to_none=True)
    return found, scale


def of_one_process(loss: Loss) -> tuple[Tensor, Tensor]:
    """Plain automatic differentiation of the whole batch."""
    both = Both()
    loss(*both(*tokens())).backward()
    return gradients(both)


def of_recipe(loss: Loss) -> tuple[Tensor, Tensor]:
    """What DDP leaves behind after a recipe."""
    both = Both()
    share = torch.arange(PAIRS).tensor_split(dist.get_world_size())[dist.get_rank()]
    query, document = (side.select(share) for side in tokens())
    spread = DistributedDataParallel(both)  # named, because its hooks must live until the backward pass is over
    loss(*spread(query, document)).backward()
    return gradients(both)


def of_ours() -> tuple[Tensor, Tensor]:
    """What `train_step` leaves behind."""
    both, (query, document), number = Both(), tokens(), torch.arange(PAIRS)
    none = torch.full((PAIRS,), -1)
    batch = Batch(
        query=query, document=document, positive=number, query_id=number, document_id=PAIRS + number,
        query_group=none, document_group=none, weight=torch.ones(PAIRS), target=None, rows=number,
    )  # fmt: skip
    objective = Objective(model=both.towers, loss=Symmetric(both.loss), team=team_of_this_process())
    train_step(objective, batch, number=0)
    return gradients(both)


def rows_here() -> list[Row]:
    """Every recipe, and ours; called by all processes together."""
    runs = {name: (seen, lambda loss=loss: of_recipe(loss)) for name, (seen, loss) in RECIPES.items()}
    rows = []
    for name, (seen, run) in {**runs, OURS: ("", of_ours)}.items():
        wanted, wanted_scale = of_one_process(WANTED.get(name, whole))
        try:
            found, scale = run()
        except ValueError as error:
            rows.append(Row(recipe=name, seen=seen, stops=str(error)))
            continue
        rows.append(
            Row(
                recipe=name,
                seen=seen,
                towers=float(found.norm() / wanted.norm()),
                cosine=float(F.cosine_similarity(found.double(), wanted.double(), dim=0)),
                temperature=float(scale / wanted_scale),
            )
        )
    return rows


def measure(processes: int) -> list[Row]:
    """The rows, from so many processes of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "store", Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks.gather", "--processes", str(processes), "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        started = [
            subprocess.Popen(
                [*command, "--store", str(store), "--rank", str(rank)],
                cwd=Path(__file__).parents[1],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]
        said = [process.communicate(timeout=300)[1] for process in started]
        if any(process.returncode for process in started):
            raise RuntimeError("\n".join(said))
        return [Row(**row) for row in json.loads(out.read_text("utf-8"))]


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| recipe | as in | towers: size of the gradient | its cosine | temperature |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        found = ["stops" if value is None else f"{value:.4f}" for value in (row.towers, row.cosine, row.temperature)]
        lines.append(f"| {row.recipe} | {row.seen} | {' | '.join(found)} |")
    return "\n".join(lines)


def keep(rows: Sequence[Row], machine: Mapping[str, Any]) -> None:
    """Write the results and their table."""
    record = {"machine": machine, "rows": [asdict(row) for row in rows]}
    (RESULTS / "gather.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    said = f"Printed by `python -m benchmarks.gather`: {machine['processes']} processes, torch {machine['torch']}."
    (RESULTS / "gather.md").write_text(f"{said}\n\n{table(rows)}\n", "utf-8")


def main() -> None:
    """Parse, run, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, default=2, help="a divisor of 64")
    parser.add_argument("--dry", action="store_true", help="print, keep nothing")
    for hidden in ("--rank", "--store", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank is not None:
        torch.set_num_threads(1)
        rank, store = int(given.rank), f"file://{given.store}"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=given.processes)
        rows = rows_here()
        if rank == 0:
            Path(given.out).write_text(json.dumps([asdict(row) for row in rows]), "utf-8")
        dist.destroy_process_group()
        return
    rows = measure(given.processes)
    print(table(rows))
    if not given.dry:
        keep(rows, {"processes": given.processes, "torch": torch.__version__})


if __name__ == "__main__":
    main()
