"""Row: what an attached doctor takes of a training loop's time."""

from __future__ import annotations

__all__ = ["attended", "rows"]

from typing import Any

from benchmarks.speed.measure import Call, Comparison, Options, contest

STEPS = {"minilm": 40, "static": 400}


def rows(options: Options) -> list[Comparison]:
    """The share of a MiniLM's loop, whose steps take long, and of a static tower's, whose steps take no time."""
    lines = []
    for model, steps in STEPS.items():
        arguments = {"model": model, "batch_size": 8 if options.quick else 64, "steps": 5 if options.quick else steps}
        call = Call(target="attended:attended", arguments=arguments, threads=options.threads)
        readings = contest({"ours": call}, options)["ours"]
        lines.append(
            Comparison(
                row="doctor",
                what=f"attached doctor, {model}, batch {arguments['batch_size']}: share of the loop's time",
                unit="%",
                ours=[float(r.facts["share"]) for r in readings],
                wanted=3.0,
                least=False,
                absolute=True,
                setting={**arguments, "threads": options.threads, "steps read": readings[0].facts["read"]},
            )
        )
    return lines


def attended(model: str, batch_size: int, steps: int) -> dict[str, Any]:
    """A plain loop with `ef.Doctor` in it; its first steps, at which hooks listen, are not counted."""
    import time

    import torch
    import torch.nn.functional as F

    import embedfit as ef
    from benchmarks.speed import texts
    from benchmarks.speed.child import Clock
    from embedfit.doctor.attend import FIRST
    from embedfit.towers import TwoTower, build, load

    pairs, _ = texts.intent_pairs(batch_size * 8)
    everything = [text for pair in pairs for text in pair]
    towers = load(texts.minilm()) if model == "minilm" else TwoTower(build(model, everything))
    trained = [p for p in towers.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=1e-3)
    doctor = ef.Doctor(towers, optimiser)
    towers.train()
    clock, spent = Clock(), 0.0
    for number in range(FIRST + steps):
        if number == FIRST:
            clock.start()
        start = number * batch_size % max(1, len(pairs) - batch_size + 1)
        part = pairs[start : start + batch_size]
        query, document = (towers.query(towers.query.tokenize([pair[i] for pair in part])) for i in (0, 1))
        logits = F.normalize(query, dim=-1) @ F.normalize(document, dim=-1).T / 0.05
        loss = F.cross_entropy(logits, torch.arange(len(part)))
        optimiser.zero_grad()
        loss.backward()
        began = time.perf_counter()
        doctor.observe(query=query, document=document, loss=loss)
        spent += time.perf_counter() - began if number >= FIRST else 0.0
        optimiser.step()
    reading = clock.stop(steps)
    reading["facts"] = {
        "share": 100 * spent / reading["wall"],
        "read": len(doctor.history["query/effective_rank"]),
    }
    return reading
