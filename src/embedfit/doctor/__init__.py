"""Finds out why a run or a program does not converge: facts, readings and experiments; checks judge them.

What needs torch is imported when it is used, so that reading a run folder stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedfit.doctor.catalogue import CHECKS, explain, select
from embedfit.doctor.check import Check, Effect, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.diagnosis import Cost, Diagnosis
from embedfit.doctor.examine import diagnose
from embedfit.doctor.glossary import GLOSSARY

if TYPE_CHECKING:
    from embedfit.doctor.attend import Doctor
    from embedfit.doctor.investigation import investigate
    from embedfit.doctor.program import Build, Evaluates, Program, Updates

__all__ = [
    "CHECKS",
    "GLOSSARY",
    "Build",
    "Check",
    "Cost",
    "Diagnosis",
    "Doctor",
    "Effect",
    "Evaluates",
    "Finding",
    "NotApplicableError",
    "Outcome",
    "Prescription",
    "Program",
    "Statistic",
    "Updates",
    "diagnose",
    "explain",
    "investigate",
    "select",
]

_HOME = {
    "Build": "embedfit.doctor.program",
    "Doctor": "embedfit.doctor.attend",
    "Evaluates": "embedfit.doctor.program",
    "Program": "embedfit.doctor.program",
    "Updates": "embedfit.doctor.program",
    "investigate": "embedfit.doctor.investigation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embedfit.doctor' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
