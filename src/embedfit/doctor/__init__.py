"""Finds out why a run did not converge: a check reads a run and gives a finding; `diagnose` sums the findings up."""

from embedfit.doctor.catalogue import CHECKS, explain, select
from embedfit.doctor.check import Check, Effect, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.diagnosis import Cost, Diagnosis
from embedfit.doctor.examine import diagnose
from embedfit.doctor.glossary import GLOSSARY

__all__ = [
    "CHECKS",
    "GLOSSARY",
    "Check",
    "Cost",
    "Diagnosis",
    "Effect",
    "Finding",
    "NotApplicableError",
    "Outcome",
    "Prescription",
    "Statistic",
    "diagnose",
    "explain",
    "select",
]
