"""The README of a model folder."""

from __future__ import annotations

__all__ = ["card"]

from collections.abc import Mapping
from typing import Any

_OURS = """With embedfit:

```python
import embedfit as ef

model = ef.load("path/to/this/folder")
query = model.encode(["a question"], role="query")
document = model.encode(["{text}"], role="document")
print(query @ document.T)
```"""

_THEIRS = """With sentence-transformers ({version} or later):

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
query = model.{query}(["a question"])
document = model.{document}(["a document"])
print(model.similarity(query, document))
```"""


def card(manifest: Mapping[str, Any]) -> str:
    """A model card for Hugging Face and for people.

    Args:
        manifest: content of embedfit.json.
    """
    query, document = manifest["roles"]["query"], manifest["roles"]["document"]
    theirs = query["layout"] == document["layout"] == "sentence-transformers"
    towers = query["kind"] if query == document else f"{query['kind']} for queries, {document['kind']} for documents"
    head = ["---", "pipeline_tag: sentence-similarity", "tags:", "- embedfit"]
    if theirs:
        head += ["- sentence-transformers", "library_name: sentence-transformers"]
    paragraphs = [
        "\n".join([*head, "---"]),
        "# A text-embedding model",
        f"Trained with embedfit. Tower: {towers}. "
        f"Embeddings have {manifest['dimension']} dimensions and are compared by cosine.",
        _OURS.format(text="a label" if document["kind"] == "prototypes" else "a document"),
    ]
    paragraphs += _theirs(query, document) if theirs else ["sentence-transformers has no part for such a tower."]
    return "\n\n".join(paragraphs) + "\n"


def _theirs(query: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    if query == document:
        version = {"static": "3.2", "lstm": "5"}.get(query["kind"], "2")
        return [_THEIRS.format(version=version, query="encode", document="encode")]
    if "lstm" in (query["kind"], document["kind"]):
        return ["sentence-transformers (5 or later) loads the sub-folders `query` and `document`, each by itself."]
    apart = _THEIRS.format(version="5", query="encode_query", document="encode_document")
    if query["folder"] == document["folder"]:
        return [apart, 'Earlier versions take the prompt by name: `model.encode(texts, prompt_name="query")`.']
    return [apart, "Earlier versions load the sub-folders `query` and `document`, each a model of its own."]
