"""The README of a model folder."""

from __future__ import annotations

__all__ = ["card"]

from collections.abc import Mapping
from typing import Any

_OURS = """```python
import embedfit as ef

model = ef.load_model("{name}")
query = model.encode(["a question"], role="query")
document = model.encode({documents}, role="document")
print(query @ document.T)
```"""

_THEIRS = """With sentence-transformers ({versions}):

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
query = model.{query}(["a question"])
document = model.{document}(["a document"])
print(model.similarity(query, document))
```"""


def card(manifest: Mapping[str, Any]) -> str:
    """A model card for Hugging Face and for people.

    Args:
        manifest: content of embedfit.json.
    """
    roles = manifest["roles"]
    shared = roles["query"] == roles["document"]
    theirs = all(entry["layout"] == "sentence-transformers" for entry in roles.values())
    kinds = (
        roles["query"]["kind"]
        if shared
        else f"{roles['query']['kind']} for queries, {roles['document']['kind']} for documents"
    )
    head = [
        "---",
        "tags:",
        *(["- sentence-transformers"] if theirs else []),
        "- embedfit",
        "pipeline_tag: sentence-similarity",
    ]
    if theirs:
        head.append("library_name: sentence-transformers")
    documents = '["a label"]' if roles["document"]["kind"] == "prototypes" else '["a document"]'
    paragraphs = [
        "\n".join([*head, "---"]),
        "# A text-embedding model",
        f"Trained with embedfit. Tower: {kinds}. "
        f"Embeddings have {manifest['dimension']} dimensions and are compared by cosine.",
        "With embedfit:",
        _OURS.format(name="path/to/this/folder", documents=documents),
    ]
    if theirs:
        versions, query, document = (
            ("2 or later", "encode", "encode") if shared else ("5 or later", "encode_query", "encode_document")
        )
        paragraphs.append(_THEIRS.format(name="path/to/this/folder", versions=versions, query=query, document=document))
        if not shared:
            paragraphs.append("Earlier versions load the sub-folders `query` and `document`, each a model of its own.")
    else:
        paragraphs.append("sentence-transformers has no part for this kind of tower.")
    return "\n\n".join(paragraphs) + "\n"
