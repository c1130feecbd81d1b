"""Train embedding and two-tower matching models that converge, and find out why one does not.

The public names; nothing is imported before it is used, so that `import embedfit` takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedfit import integrations
    from embedfit.align import distil, learn_map, migrate
    from embedfit.api import TrainedRun, diagnose, fit, load, load_run, measure
    from embedfit.data import read, split
    from embedfit.data.audit import audit
    from embedfit.data.demo import demo
    from embedfit.doctor.attend import Doctor
    from embedfit.doctor.investigation import investigate
    from embedfit.errors import EmbedfitError
    from embedfit.evaluate.compare import compare
    from embedfit.evaluate.matchers import compare_scorers
    from embedfit.pairs import Pairs
    from embedfit.probes.curvature import curvature
    from embedfit.recipe import Recipe
    from embedfit.towers import TwoTower
    from embedfit.towers.vector_map import load_map

__version__ = "0.1.0"

__all__ = [
    "Doctor",
    "EmbedfitError",
    "Pairs",
    "Recipe",
    "TrainedRun",
    "TwoTower",
    "audit",
    "compare",
    "compare_scorers",
    "curvature",
    "demo",
    "diagnose",
    "distil",
    "fit",
    "integrations",
    "investigate",
    "learn_map",
    "load",
    "load_map",
    "load_run",
    "measure",
    "migrate",
    "read",
    "split",
]

_HOME = {
    "Doctor": "embedfit.doctor.attend",
    "EmbedfitError": "embedfit.errors",
    "Pairs": "embedfit.pairs",
    "Recipe": "embedfit.recipe",
    "TrainedRun": "embedfit.api",
    "TwoTower": "embedfit.towers",
    "audit": "embedfit.data.audit",
    "compare": "embedfit.evaluate.compare",
    "compare_scorers": "embedfit.evaluate.matchers",
    "curvature": "embedfit.probes.curvature",
    "demo": "embedfit.data.demo",
    "diagnose": "embedfit.api",
    "distil": "embedfit.align",
    "fit": "embedfit.api",
    "investigate": "embedfit.doctor.investigation",
    "learn_map": "embedfit.align",
    "load": "embedfit.api",
    "load_map": "embedfit.towers.vector_map",
    "load_run": "embedfit.api",
    "measure": "embedfit.api",
    "migrate": "embedfit.align",
    "read": "embedfit.data",
    "split": "embedfit.data",
}


def __getattr__(name: str) -> Any:
    if name == "integrations":
        from importlib import import_module

        return import_module("embedfit.integrations")
    if name not in _HOME:
        raise AttributeError(f"module 'embedfit' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
