"""The faults, by the part of the program they sit in: every one a small change of a healthy program."""

from __future__ import annotations

__all__ = ["FAULTS"]

from benchmarks.faults.fault import Fault
from benchmarks.faults.plant import batches, loss, model, optim, rest, rows

FAULTS: dict[str, Fault] = {
    fault.name: fault for module in (rows, batches, model, loss, optim, rest) for fault in module.FAULTS
}
