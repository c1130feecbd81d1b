"""The doctor in other people's trainers, and what their logs can say. Each needs its package only when used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedfit.integrations.lightning import LightningDoctor
    from embedfit.integrations.logs import read_log
    from embedfit.integrations.trainer import DoctorCallback

__all__ = ["DoctorCallback", "LightningDoctor", "read_log"]

_HOME = {
    "DoctorCallback": "embedfit.integrations.trainer",
    "LightningDoctor": "embedfit.integrations.lightning",
    "read_log": "embedfit.integrations.logs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embedfit.integrations' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
