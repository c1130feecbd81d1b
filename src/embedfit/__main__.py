"""`python -m embedfit` and `torchrun -m embedfit`: the command line."""

from __future__ import annotations

from embedfit.cli import main

if __name__ == "__main__":
    main()
