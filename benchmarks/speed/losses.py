"""Rows: time, memory and accuracy of the contrastive loss, forward and backward, without any tower."""

from __future__ import annotations

__all__ = ["accuracy", "engine_exists", "installed", "rows", "stage"]

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import Call, Comparison, Options, Reading, contest

DIMENSION = 256
SCALE = 50.0
COSINE = 0.25  # of a query to its own document: a loss of the middle of training
NEAR_CONVERGENCE = 4e-5  # a loss at which 1 - softmax has lost most of its digits

# pairs -> contender -> what is wanted of our time and of our memory, as parts of theirs
FIELD: dict[int, dict[str, tuple[float | None, float | None]]] = {
    256: {"metric_learning": (None, None)},  # it holds pairs x pairs x pairs numbers: 3 GB at 512, 69 GB at 4,096
    4_096: {"dense": (0.6, 1 / 7), "cached_mnrl": (None, None)},
    16_384: {"linear_cross_entropy": (1 / 1.5, None), "dense": (1 / 2.2, None)},
    32_768: {"bare_products": (1.15, None), "linear_cross_entropy": (None, None)},
}
MOST_MB = {32_768: 0.3 * 1024}
TITLES = {
    "dense": "torch, the whole matrix",
    "linear_cross_entropy": "torch, two calls of linear_cross_entropy",
    "metric_learning": "pytorch-metric-learning, two calls of NTXentLoss",
    "cached_mnrl": "sentence-transformers 6.2, score part of the cached loss",
    "bare_products": "the four bare matrix products",
}


def engine_exists() -> bool:
    """Whether embedfit has its tiled engine; looked up as a file, because an import would take torch along."""
    package = find_spec("embedfit")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "engine" / "contrast.py").is_file()


def installed(contender: str) -> bool:
    """Whether a contender can be measured here; pytorch-metric-learning is optional."""
    return contender != "metric_learning" or find_spec("pytorch_metric_learning") is not None


def rows(options: Options) -> list[Comparison]:
    """Symmetric contrastive loss, 256 dimensions, against each contender at the sizes it can stand."""
    lines = []
    everyone: dict[str, tuple[float | None, float | None]] = dict.fromkeys(TITLES, (None, None))
    for pairs, field in ({64: everyone} if options.quick else FIELD).items():
        names = [name for name in field if installed(name)]
        if not names:
            continue
        sizes = {"pairs": pairs, "repeats": 5 if pairs <= 4_096 else 1}
        calls = {
            name: Call(target="losses:stage", arguments={"contender": name, **sizes}, threads=options.threads)
            for name in ("ours", *names)
        }
        found = contest(calls, options)
        _check_agreement({n: r for n, r in found.items() if n != "bare_products"})
        setting = {**sizes, "dimension": DIMENSION, "scale": SCALE, "threads": options.threads}
        for name in names:
            lines += _lines(found["ours"], found[name], name, field[name], setting)
        what = f"contrastive loss, n = {sizes['pairs']:,}: extra memory"
        lines.append(
            Comparison(
                row="loss", what=what, unit="MB", ours=[r.extra_mb for r in found["ours"]],
                wanted=MOST_MB.get(pairs), least=False, absolute=True, setting=setting,
            )
        )  # fmt: skip
    return [*lines, *accuracy(options)]


def _lines(
    ours: list[Reading],
    theirs: list[Reading],
    name: str,
    wanted: tuple[float | None, float | None],
    setting: dict[str, Any],
) -> list[Comparison]:
    what = f"contrastive loss, n = {setting['pairs']:,}"
    common: dict[str, Any] = {"row": "loss", "against": TITLES[name], "least": False, "setting": setting}
    time = Comparison(
        what=what,
        unit="s",
        ours=[r.wall / r.work for r in ours],
        theirs=[r.wall / r.work for r in theirs],
        wanted=wanted[0],
        cpu=[a.cpu / a.work / (b.cpu / b.work) for a, b in zip(ours, theirs, strict=True)],
        **common,
    )
    if name == "bare_products":
        return [time]
    memory = [[r.extra_mb for r in readings] for readings in (ours, theirs)]
    return [
        time,
        Comparison(
            what=f"{what}: extra memory", unit="MB", ours=memory[0], theirs=memory[1], wanted=wanted[1], **common
        ),
    ]


def _check_agreement(found: dict[str, list[Reading]]) -> None:
    values = {name: readings[0].facts["loss"] for name, readings in found.items()}
    if max(values.values()) - min(values.values()) > 1e-3 * max(values.values()):
        raise RuntimeError(f"the contenders do not compute the same loss: {values}")


def stage(contender: str, pairs: int, repeats: int) -> dict[str, Any]:
    """Time and memory of one contender; the embeddings are its input, its gradients count as its memory."""
    from benchmarks.speed.child import Clock
    from benchmarks.speed.contenders import CONTENDERS

    act = CONTENDERS[contender]
    act(*embeddings(64, COSINE), SCALE)
    q, k = embeddings(pairs, COSINE)
    clock = Clock()
    clock.start()
    for _ in range(repeats):
        loss, _, _ = act(q, k, SCALE)
    return clock.stop(repeats, loss=float(loss))


def embeddings(pairs: int, cosine: float) -> Any:
    """Random documents, and queries whose cosine to their own is about `cosine`; not of unit length."""
    import torch

    draw = torch.Generator().manual_seed(0)
    k, noise = (torch.randn(pairs, DIMENSION, generator=draw) for _ in range(2))
    return cosine * k + (1 - cosine**2) ** 0.5 * noise, k


def accuracy(options: Options) -> list[Comparison]:
    """Relative error of the gradient near convergence, against float64. Not timed, so once is enough."""
    pairs = 64 if options.quick else 4_096
    readings = {
        name: options.play("losses:error", contender=name, pairs=pairs)
        for name in ("ours", "dense", "linear_cross_entropy")
    }
    ours = readings["ours"].facts
    what = f"gradient error at a loss of {ours['loss']:.1e}, fp32, n = {pairs:,}"
    errors = {name: [reading.facts["error"]] for name, reading in readings.items()}
    common: dict[str, Any] = {"row": "loss", "what": what, "unit": "relative", "ours": errors["ours"], "least": False}
    return [
        Comparison(wanted=1e-5, absolute=True, **common),
        *(Comparison(theirs=errors[n], against=TITLES[n], **common) for n in ("dense", "linear_cross_entropy")),
    ]


def error(contender: str, pairs: int) -> dict[str, Any]:
    """How far the gradient by q is from that of float64, at embeddings whose loss is that of a converged model."""
    from benchmarks.speed.child import Clock
    from benchmarks.speed.contenders import CONTENDERS

    low, high = 0.0, 1.0
    for _ in range(30):  # the loss falls as the positives come nearer
        middle = (low + high) / 2
        loss, exact = precise(*embeddings(pairs, middle))
        low, high = (middle, high) if loss > NEAR_CONVERGENCE else (low, middle)
        if abs(loss / NEAR_CONVERGENCE - 1) < 0.02:
            break
    clock = Clock()
    clock.start()
    _, dq, _ = CONTENDERS[contender](*embeddings(pairs, middle), SCALE)
    return clock.stop(1, loss=loss, error=float((dq.double() - exact).norm() / exact.norm()))


def precise(q: Any, k: Any) -> tuple[float, Any]:
    """Loss and gradient by q in float64, with the positive out of the log-sum-exp."""
    import torch
    from torch.nn.functional import normalize, softplus

    q, k = q.double().requires_grad_(), k.double()
    logits = SCALE * normalize(q, dim=-1) @ normalize(k, dim=-1).T
    own = torch.eye(len(q), dtype=torch.bool)
    rivals = logits.masked_fill(own, -torch.inf)
    losses = sum(softplus(rivals.logsumexp(axis) - logits.diagonal()).mean() for axis in (0, 1))
    loss = losses / 2
    loss.backward()
    return loss.item(), q.grad
