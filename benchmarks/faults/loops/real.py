"""Public threads with an established cause, rebuilt as small programs: the lines at fault are those of the thread.

The data are made, because the threads' own are large; every program has a twin with the thread's cure in it.
"""

from __future__ import annotations

__all__ = ["LOOPS"]

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.faults.loops.loop import Loop


def views(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same hidden things seen twice, and the class of each; the two ways of seeing are always the same."""
    g = torch.Generator().manual_seed(404)
    centre, left, right = (
        torch.randn(32, 12, generator=g),
        torch.randn(12, 48, generator=g),
        torch.randn(12, 48, generator=g),
    )
    g.manual_seed(seed)
    label = torch.arange(rows) * 32 // rows
    hidden = centre[label] + 0.7 * torch.randn(rows, 12, generator=g)
    first = torch.tanh(hidden @ left / 12**0.5) + 0.25 * torch.randn(rows, 48, generator=g)
    second = torch.tanh(hidden @ right / 12**0.5) + 0.25 * torch.randn(rows, 48, generator=g)
    return first, second, label


class Encoder(nn.Module):
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.head = nn.Linear(96, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = Encoder(), Encoder()


class Pairs:
    """Shuffled pairs, unless told otherwise."""

    def __init__(self, left: Tensor, right: Tensor, seed: int, *, size: int = 64, shuffle: bool = True) -> None:
        self.left, self.right, self.size, self.shuffle = left, right, size, shuffle
        self.g = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.left) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.left), generator=self.g) if self.shuffle else torch.arange(len(self.left))
        for i in range(len(self)):
            rows = order[i * self.size : (i + 1) * self.size]
            yield self.left[rows], self.right[rows]


class Program:
    """A contrastive loop as it stands in many a tutorial: what the cured twins run."""

    steps, batch_size, shuffle, lr = 300, 64, True, 1e-3

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        left, right, _ = views(4096, 1)
        self.batches = self.pairs(left, right, seed)
        self.held = views(512, 2)[:2]
        self.model = self.network()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.lr)

    def pairs(self, left: Tensor, right: Tensor, seed: int) -> Pairs:
        return Pairs(left, right, seed, size=self.batch_size, shuffle=self.shuffle)

    def network(self) -> nn.Module:
        return Towers()

    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        q, d = self.model.left(batch[0]), self.model.right(batch[1])
        return {"query": q, "document": d, "loss": self.criterion(q, d)}

    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        return F.cross_entropy(F.normalize(q, dim=1) @ F.normalize(d, dim=1).T / 0.07, torch.arange(len(q)))

    def documents(self) -> Tensor:
        return self.model.right(self.held[1])

    @torch.no_grad()
    def ranks(self) -> Tensor:
        scores = F.normalize(self.model.left(self.held[0]), dim=1) @ F.normalize(self.documents(), dim=1).T
        scores = torch.nan_to_num(scores, nan=-9.0)
        return (scores >= scores.diagonal()[:, None]).sum(1).float()

    def evaluate(self) -> float:
        return float((1 / self.ranks()).mean())


class SimClrAxis(Program):
    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        z = F.normalize(torch.cat([q, d]), dim=0)  # over the batch
        logits = z @ z.T / 0.5
        n = len(q)
        logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
        return F.cross_entropy(logits, torch.cat([torch.arange(n) + n, torch.arange(n)]))


class Clip(Program):
    """The cured twin: scale from the paper."""

    start, steps = 2.6592, 120

    def evaluate(self) -> float:
        """Top-1 accuracy, as CLIP reports it."""
        return float((self.ranks() == 1).float().mean())

    def network(self) -> nn.Module:
        model = super().network()
        model.logit_scale = nn.Parameter(torch.tensor(self.start))
        return model

    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        q, d = q / q.norm(dim=-1, keepdim=True), d / d.norm(dim=-1, keepdim=True)
        logits = self.model.logit_scale.exp() * q @ d.t()
        labels = torch.arange(len(q))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2


class ClipScaleOne(Clip):
    start = 0.0


class Distances(Program):
    """The cured twin: a contrastive loss on distances as they are."""

    margin = 1.0

    def measure(self, q: Tensor, d: Tensor) -> Tensor:
        return (F.normalize(q, dim=1) - F.normalize(d, dim=1)).pow(2).sum(1).clamp(min=1e-9).sqrt()

    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        other = d[torch.randperm(len(d))]
        near, far = self.measure(q, d), self.measure(q, other)
        return (near.pow(2) + F.relu(self.margin - far).pow(2)).mean()


class SigmoidMargin(Distances):
    def measure(self, q: Tensor, d: Tensor) -> Tensor:
        distance = (q - d).pow(2).sum(1).clamp(min=1e-9).sqrt()
        return torch.sigmoid(nn.functional.batch_norm(distance[:, None], None, None, training=True))[:, 0]


class SemiHard(Program):
    """The cured twin: all rivals count a little."""

    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        distance = (F.normalize(q, dim=1)[:, None] - F.normalize(d, dim=1)).pow(2).sum(-1)
        return F.relu(distance.diagonal()[:, None] - distance + 0.3).mean()


class HingeStuck(Program):
    lr = 1e-2

    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        distance = torch.cdist(q, d)
        hardest = (distance + 1e6 * torch.eye(len(q))).min(1).values
        return F.relu(distance.diagonal() - hardest + 0.5).mean()


class Ordered(Program):
    shuffle = False


class OneCandidate(Program):
    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        scores = (F.normalize(q, dim=1)[:, None] * F.normalize(d, dim=1).view(len(q), 1, -1)).sum(-1) / 0.02
        return F.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long))


class Half(Program):
    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        (loss * 1e-7).backward()  # the loss is averaged over all rows, the gradients are kept in fp16
        for p in self.model.parameters():
            p.grad = p.grad.half().float() * 1e7 if p.grad is not None else None
        self.optimizer.step()


class StaleIndex(Program):
    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.index_model = copy.deepcopy(self.model)

    def documents(self) -> Tensor:
        return self.index_model.right(self.held[1])


class Misaligned(Program):
    def pairs(self, left: Tensor, right: Tensor, seed: int) -> Pairs:
        return super().pairs(left[1:], right[:-1], seed)


def pretrained() -> dict[str, Tensor]:
    """A checkpoint of a longer training, saved from inside a wrapper."""
    program = Program(seed=9)
    while program.steps > 0:
        for batch in program.batches:
            loss = program.train_step(batch)["loss"]
            program.optimizer.zero_grad()
            loss.backward()
            program.optimizer.step()
            program.steps -= 1
            if program.steps == 0:
                break
    return {f"module.{name}": value for name, value in program.model.state_dict().items()}


CHECKPOINT: dict[str, Tensor] = {}


class Loaded(Program):
    """The cured twin: a short fine-tuning from the checkpoint."""

    steps, lr = 40, 1e-4

    def network(self) -> nn.Module:
        model = super().network()
        if not CHECKPOINT:
            state = torch.get_rng_state()
            CHECKPOINT.update(pretrained())
            torch.set_rng_state(state)
        self.load(model)
        return model

    def load(self, model: nn.Module) -> None:
        model.load_state_dict({name.removeprefix("module."): value for name, value in CHECKPOINT.items()})


class NotLoaded(Loaded):
    def load(self, model: nn.Module) -> None:
        model.load_state_dict(CHECKPOINT, strict=False)


class RawCosines(Program):
    def criterion(self, q: Tensor, d: Tensor) -> Tensor:
        rivals = torch.stack([d.roll(k + 1, 0) for k in range(4)], 1)
        cosines = F.cosine_similarity(q[:, None], torch.cat([d[:, None], rivals], 1), dim=-1)
        return -torch.log(torch.softmax(cosines, 1)[:, 0]).mean()


LOOPS = (
    Loop(name="SimCLR normalised over the batch", build=SimClrAxis, healthy=Program, components=("loss",),
         cause="normalisation", source="tensorflow/similarity issue 237"),
    Loop(name="CLIP scale of one", build=ClipScaleOne, healthy=Clip, components=("loss", "initialisation"),
         cause="learned scale", source="huggingface/transformers, CLIP with logit_scale started at 1"),
    Loop(name="sigmoid before a margin of one", build=SigmoidMargin, healthy=Distances, components=("loss",),
         cause="unreachable margin", source="keras-team/keras-io pull request 2261"),
    Loop(name="hinge stuck at its margin", build=HingeStuck, healthy=SemiHard, components=("loss", "negatives"),
         cause="hardest negatives", source="omoindrot/tensorflow-triplet-loss issue 37"),
    Loop(name="class-ordered data", build=Ordered, healthy=Program, components=("order", "negatives"),
         cause="class-ordered batches", source="un-shuffled loaders"),
    Loop(name="one candidate", build=OneCandidate, healthy=Program, components=("negatives", "loss"),
         cause="one candidate", source="FlagOpen/FlagEmbedding issue 823"),
    Loop(name="fp16 underflow", build=Half, healthy=Program, components=("precision",), cause="precision",
         source="FlagOpen/FlagEmbedding issue 353"),
    Loop(name="stale index", build=StaleIndex, healthy=Program, components=("evaluation",), cause="stale index",
         source="facebookresearch/multihop_dense_retrieval issue 24"),
    Loop(name="misaligned corpora", build=Misaligned, healthy=Program, components=("pairing", "data"),
         cause="misaligned rows", source="mozilla/translations issue 272"),
    Loop(name="weights not loaded", build=NotLoaded, healthy=Loaded, components=("initialisation",),
         cause="weights not loaded", source="VisualComputingInstitute/triplet-reid issue 30"),
    Loop(name="raw cosines, four negatives", build=RawCosines, healthy=Program, components=("loss", "negatives"),
         cause="temperature too high", source="a DSSM softmax over cosines without a factor"),
)  # fmt: skip
