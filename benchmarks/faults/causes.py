"""Our names of causes, and the checks of the doctor that name the same thing.

A check that only names the part ("the loss costs 40 %") counts for the component and not for the cause.
"""

from __future__ import annotations

__all__ = ["CODES"]

CODES: dict[str, frozenset[str]] = {
    cause: frozenset(codes.split())
    for cause, codes in {
        "pair noise": "PAI003 PAI002 DAT002",
        "misaligned rows": "PAI001 PAI002 PAI003",
        "misaligned collate": "PAI001 PAI002 PAI003",
        "little diversity": "DAT001 DAT007 EVA002",
        "unscaled inputs": "MOD005 DAT008",
        "class-ordered batches": "DAT003 DAT007",
        "truncated inputs": "DAT005 TOK001",
        "unknown tokens": "TOK001 TOK002 DAT005",
        "id collisions": "TOK001 TOK002 TOK003",
        "wrong vocabulary": "TOK002 MOD005 INI001",
        "one candidate": "NEG003 NEG004 LOS002",
        "no gather": "NEG003 NEG004 DST001",
        "stale queue": "OPT005 DST002",
        "false negatives": "NEG001 NEG002",
        "easy negatives": "NEG005 LOS011",
        "bottleneck": "MOD004 GEO001",
        "squashed output": "MOD003",
        "saturation": "MOD003 MOD005 MOD009",
        "padding": "MOD002 MOD005",
        "one direction": "GEO002 MOD003 MOD005",
        "graph cut": "OPT005",
        "bad initial weights": "MOD005 INI001",
        "weights not loaded": "MOD005 INI001",
        "dead units": "MOD005 INI001 MOD009",
        "temperature too high": "LOS001",
        "temperature too low": "LOS009",
        "normalisation": "LOS008 LOS009",
        "reversed sign": "LOS004",
        "wrong target": "LOS006 PAI001",
        "no negatives": "NEG003",
        "unreachable margin": "LOS010 LOS003",
        "hardest negatives": "LOS003 LOS012",
        "learned scale": "LOS001",
        "fighting terms": "LOS011 LOS013",
        "popularity": "LOS011 LOS014",
        "learning rate too low": "OPT011 OPT007",
        "learning rate too high": "OPT012 OPT002",
        "frozen parameters": "OPT004 OPT001 MOD006",
        "no zero_grad": "OPT006",
        "accumulation": "OPT006 OPT007 OPT011",
        "clipping": "OPT007 OPT011",
        "weight decay": "OPT008",
        "warm-up": "OPT009 OPT011 OPT007",
        "schedule unit": "OPT009",
        "dropout": "MOD007",
        "precision": "NUM001 NUM002 NUM003",
        "mode": "MOD001 MOD008",
        "unreliable teacher": "TEA001 PAI003",
        "unreachable teacher": "TEA002 LOS011",
        "stale index": "EVA004 EVA006",
        "broken metric": "EVA004 EVA007",
        "other scorer": "EVA004 EVA007 EVA008",
    }.items()
}
