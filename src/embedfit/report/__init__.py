"""Runs and diagnoses for people: text for the terminal, one HTML file for everything else. Computes nothing anew."""

from embedfit.report.html import write
from embedfit.report.text import diagnosis_view, run_view

__all__ = ["diagnosis_view", "run_view", "write"]
