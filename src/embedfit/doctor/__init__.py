"""Finds out why a run or a program does not converge: facts, readings and experiments; checks judge them.

What looks at programs needs torch and is imported from its own module (`attend`, `investigation`, `program`), so that
reading a run folder stays light.
"""

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
