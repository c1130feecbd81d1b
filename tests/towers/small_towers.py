"""Texts and sizes that the tests of towers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedfit.towers import Tower

TEXTS = (
    "How do I activate my new card?",
    "My card has not arrived yet, what should I do?",
    "Can I top up my account with a cheque?",
    "The cash machine swallowed my card!",
    "I was charged twice for the same payment.",
    "What is the exchange rate for euros?",
    "Please cancel the transfer of 1,250.00 pounds.",
    "Why was my transfer declined?",
    "Where can I see the PIN of my virtual card?",
    "Is there a fee for exchanging currencies?",
    "I think someone stole my phone, please freeze my card.",
    "how long does an international transfer take",
    "如何激活我的新银行卡？",
    "我的银行卡还没有收到怎么办",
    "为什么我的转账被拒绝了？",
    "兑换外币需要手续费吗",
    "取款机吞了我的银行卡！",
    "同一笔付款被扣了两次",
    "mixed 文本 with English words 和中文",
    "Überweisung nach Zürich über 100 €",
)

# The empty text, one word, far too long, Chinese, emoji, white space only, characters never seen.
AWKWARD = ("", "card", "what now? " * 400, "转账手续费是多少", "😀 hello 🎉", " \n\t ", "ᚠᚢᚦ", TEXTS[1], TEXTS[14])

SIZES: dict[str, dict[str, Any]] = {
    "static": {"dimension": 32, "vocabulary": 400, "max_tokens": 40},
    "static with blocks": {"dimension": 32, "vocabulary": 400, "max_tokens": 40, "layers": 2},
    "ngram": {"dimension": 32, "layers": 1},
    "ngram of parts": {"dimension": 32, "layers": 4, "vocabulary": 200, "max_tokens": 300},
    "gru": {"dimension": 32, "vocabulary": 400, "layers": 2, "max_tokens": 40},
    "lstm": {"dimension": 32, "vocabulary": 400, "max_tokens": 40},
    "transformer": {"dimension": 64, "vocabulary": 400, "layers": 2, "max_tokens": 40},
}

Make = Callable[..., Tower]
