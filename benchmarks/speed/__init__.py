"""Speed and memory against other libraries, side by side in one run: `python -m benchmarks.speed --help`.

A row is a small function: it measures contestants, each in a fresh process, and returns comparisons. This package's
parent process imports neither torch nor embedfit, because a child's peak memory would begin at its parent's.
"""
