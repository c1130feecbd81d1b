"""Towers: texts in, embeddings out; and the folder a model lives in."""

from __future__ import annotations

__all__ = [
    "KINDS",
    "Encoder",
    "Ngram",
    "Prototypes",
    "Recurrent",
    "Role",
    "Static",
    "Tower",
    "TwoTower",
    "build",
    "cached_tokens",
    "load",
    "load_pretrained",
    "read_facts",
    "save",
]

from embedfit.towers.base import Tower
from embedfit.towers.build import KINDS, build
from embedfit.towers.encoder import Encoder
from embedfit.towers.folder import read_facts, save
from embedfit.towers.ngram import Ngram
from embedfit.towers.pretrained import load, load_pretrained
from embedfit.towers.prototypes import Prototypes
from embedfit.towers.recurrent import Recurrent
from embedfit.towers.static import Static
from embedfit.towers.token_cache import cached_tokens
from embedfit.towers.two_tower import Role, TwoTower
