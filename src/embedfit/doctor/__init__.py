"""Finds out why a run did not converge: a check reads a run and gives a finding; `diagnose` sums the findings up."""

from embedfit.doctor.catalogue import CHECKS, explain, select
from embedfit.doctor.check import Check, Effect, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.diagnosis import Cost, Diagnosis
from embedfit.doctor.examine import diagnose
from embedfit.doctor.glossary import GLOSSARY
from embedfit.doctor.investigate import investigate
from embedfit.doctor.program import Build, Evaluates, Program, Updates

__all__ = [
    "CHECKS",
    "GLOSSARY",
    "Build",
    "Check",
    "Cost",
    "Diagnosis",
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
