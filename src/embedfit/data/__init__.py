"""Reading, judging and dividing data."""

from __future__ import annotations

from embedfit.data.binding import describe_binding as describe_binding
from embedfit.data.identity import normalised as normalised
from embedfit.data.read import read as read
from embedfit.data.split import leakage as leakage
from embedfit.data.split import split as split
