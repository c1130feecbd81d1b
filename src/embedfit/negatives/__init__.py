"""How negatives are brought to a batch: the others of the batch, drawn, kept from steps before, or mined."""

from embedfit.negatives.base import Brought, Chances, Embeddings, Negatives, carried, log_chances
from embedfit.negatives.drawn import Drawn, InBatch, Mixed
from embedfit.negatives.mined import Mined, Search, Sieve
from embedfit.negatives.queue import Queue

__all__ = [
    "Brought",
    "Chances",
    "Drawn",
    "Embeddings",
    "InBatch",
    "Mined",
    "Mixed",
    "Negatives",
    "Queue",
    "Search",
    "Sieve",
    "carried",
    "log_chances",
]
