"""The names under which columns are recognised."""

from __future__ import annotations

__all__ = ["ALIASES", "OF_CLICKS", "aliases", "key"]

import re
from collections.abc import Mapping

from embedfit.pairs import Kind

_QUERY = ("query", "anchor", "question", "user_query", "user_question", "utterance", "text", "sentence")
_DOCUMENT_ID = ("document_id", "doc_id", "pid", "passage_id", "corpus_id", "item_id", "docid", "did")
_SENTENCE_STEMS = ("sentence", "text", "question", "s")

ALIASES: Mapping[str, tuple[str, ...]] = {
    "query": _QUERY,
    "positive": (
        *("positive", "positives", "pos", "document", "doc", "answer", "item", "standard_question"),
        *("passage", "positive_passage", "positive_passages", "response"),
    ),
    "weight": ("weight", "sample_weight", "example_weight"),
    "text": (*_QUERY, "content"),
    "label": ("label", "labels", "category", "intent", "class"),
    "label_text": ("label_text", "label_name", "class_name", "category_name", "intent_name", "standard_question"),
    "sentence1": tuple(stem + suffix for stem in _SENTENCE_STEMS for suffix in ("1", "a")),
    "sentence2": tuple(stem + suffix for stem in _SENTENCE_STEMS for suffix in ("2", "b")),
    "score": ("score", "similarity", "similarity_score", "relatedness_score", "is_duplicate", "label"),
    "query_id": ("query_id", "qid"),
    "document_id": _DOCUMENT_ID,
    "document": ("document", "text", "passage", "content", "contents", "body"),
    "title": ("title",),
    "relevance": ("relevance", "score", "code", "rel", "label", "grade"),
    "clicked": ("clicked", "click", "is_click", "is_clicked", "label"),
    "session_id": ("session_id", "session", "search_id", "request_id", "impression_id", "serp_id", "list_id"),
    "position": ("position", "rank", "pos", "slot"),
    "timestamp": ("timestamp", "time", "datetime", "date", "ts", "event_time"),
}
"""Names under which each role is recognised; case, blanks, dashes and underscores make no difference."""

OF_CLICKS: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "search_query", "search_term", "keyword", "keywords", "question", "user_query", "user_question"),
    "document": (
        *("document", "doc", "item", "product", "text", "passage", "content", "answer", "title"),
        *("document_text", "document_title", "doc_text", "doc_title", "item_text", "item_title", "product_title"),
    ),
    "document_id": (*_DOCUMENT_ID, "sku", "sku_id", "product_id", "asin"),
}
"""Names in a log of what was shown, where they mean something else than in other tables or nothing there."""


def key(name: str) -> str:
    """What is left of a column's name once case, blanks, dashes and underscores make no difference."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


def aliases(role: str, kind: Kind | None = None) -> tuple[str, ...]:
    """The names of a role in tables of one kind."""
    return OF_CLICKS.get(role, ALIASES[role]) if kind == "clicks" else ALIASES[role]
