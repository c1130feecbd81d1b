"""Runs and diagnoses for people: text for the terminal, one HTML file for everything else. Computes nothing anew."""

from embedfit.report.diagnosis import write_diagnosis
from embedfit.report.html import write
from embedfit.report.text import diagnosis_view, run_view

__all__ = ["diagnosis_view", "run_view", "write", "write_diagnosis"]
