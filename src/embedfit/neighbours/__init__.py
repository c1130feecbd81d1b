"""Nearest rows by inner product: exactly, or through an index whose recall has been measured.

Knows numbers only, no texts and no models. FAISS is imported by the functions that need it.
"""

from embedfit.neighbours.exact import products, top_k, top_owners
from embedfit.neighbours.indexing import Kind, Neighbours, index, kind_for

__all__ = ["Kind", "Neighbours", "index", "kind_for", "products", "top_k", "top_owners"]
