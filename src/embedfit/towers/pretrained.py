"""Pretrained encoders: any local Hugging Face or sentence-transformers folder, or a name on the hub."""

from __future__ import annotations

__all__ = ["load", "load_pretrained", "locate"]

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from embedfit.errors import ModelError
from embedfit.towers.base import Tower
from embedfit.towers.encoder import Encoder
from embedfit.towers.folder import is_ours, load_ours
from embedfit.towers.reading import Prompts, read, read_prompts
from embedfit.towers.two_tower import TwoTower

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors", "*/tokenizer.json")
_TIMEOUT = 10.0


def load(name: str | os.PathLike[str], *, dropout: float | None = None, max_tokens: int | None = None) -> TwoTower:
    """Any model: a folder that embedfit saved, one of sentence-transformers or Hugging Face, or a name on the hub.

    Where a model wants different prompts for queries and documents, its two towers share all weights and put them.

    Args:
        name: a folder, or `organisation/model` on the hub.
        dropout: replaces the model's own.
        max_tokens: cuts texts shorter than the model itself would.

    Raises:
        ModelError: there is no such model, no network, or the model is broken or not understood.
    """
    folder = locate(os.fspath(name))
    if is_ours(folder):
        return load_ours(folder, dropout=dropout, max_tokens=max_tokens)
    tower = read(folder, dropout=dropout, max_tokens=max_tokens)
    prompts = read_prompts(folder)
    if prompts == Prompts():
        return TwoTower(tower)
    if not isinstance(tower, Encoder):
        raise ModelError(
            f"'{name}' wants prompts before its texts, which is not understood for static embeddings",
            hint="put the prompts before the texts yourself, and out of its config_sentence_transformers.json",
        )
    query = tower.prompted(prompts.query)
    return TwoTower(query, None if prompts.query == prompts.document else query.prompted(prompts.document))


def load_pretrained(name: str, *, dropout: float | None = None, max_tokens: int | None = None) -> Tower:
    """The one tower of a model; where prompts differ by role, the one for queries.

    Args:
        name: a folder, or `organisation/model` on the hub.
        dropout: replaces the model's own.
        max_tokens: cuts texts shorter than the model itself would.

    Raises:
        ModelError: as `load`; or the model has two different towers.
    """
    model = load(name, dropout=dropout, max_tokens=max_tokens)
    twins = (
        isinstance(model.query, Encoder) and isinstance(model.document, Encoder) and model.query.is_twin(model.document)
    )
    if not model.shared and not twins:
        hint = "set model.shared = false to use both"
        raise ModelError(f"'{name}' has two different towers; expected one", hint=hint)
    return model.query


def locate(name: str) -> Path:
    """The folder of a model: the path itself, or where the hub's files lie on this machine (fetched if need be).

    Raises:
        ModelError: neither a folder nor a model of the hub that can be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"'{name}' is a file; expected the folder of a model", hint=f"try '{path.parent}'")
    # "models/minilm" is a path wherever there is a folder "models", "organisation/minilm" a name everywhere else.
    if not _HUB_NAME.fullmatch(name) or (len(path.parts) > 1 and Path(path.parts[0]).is_dir()):
        raise ModelError(f"no model folder at '{name}'", hint=_near(path) or _there(path))
    return _fetch(name)


def _fetch(name: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    near = _near(Path(name))
    why = "HF_HUB_OFFLINE is set"
    if not HF_HUB_OFFLINE:
        try:
            # One question with a time limit first: the download itself would try again and again without a network.
            revision = HfApi().model_info(name, timeout=_TIMEOUT).sha
            return Path(snapshot_download(name, revision=revision, allow_patterns=list(_PATTERNS)))
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status in (401, 403, 404):
                hint = near or "is it private? `hf auth login` lets this machine in"
                raise ModelError(f"'{name}' is no folder here, and the hub shows no such model", hint=hint) from None
            why = f"the hub answered {status}"
        except Exception as error:  # the hub's client passes on whatever its transport raises
            why = f"the hub cannot be reached ({type(error).__name__})"
    try:
        return Path(snapshot_download(name, allow_patterns=list(_PATTERNS), local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        hint = near or "copy the model's folder to this machine and give its path"
        raise ModelError(f"'{name}' is no folder here, and {why}", hint=hint) from None


def _near(path: Path) -> str | None:
    """A question that names the folder meant, if one is spelled nearly so."""
    near = get_close_matches(path.name, _folders(path.parent), n=1, cutoff=0.5)
    return f"did you mean '{path.parent / near[0]}'?" if near else None


def _there(path: Path) -> str:
    """What there is instead, as far down the path as there is anything."""
    parent = next(folder for folder in path.absolute().parents if folder.is_dir())
    names = _folders(parent)
    return f"in '{parent}' there are the folders {', '.join(names[:8])}" if names else f"'{parent}' holds no folder"


def _folders(parent: Path) -> Sequence[str]:
    if not parent.is_dir():
        return []
    return sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
