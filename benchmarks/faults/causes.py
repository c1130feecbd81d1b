"""Our names of causes, and the checks of the doctor that name the same thing.

A check that only names the part ("the loss costs 40 %": LOS011, OPT010, MOD005, MOD009, NEG004) counts for the
component and not for the cause. A cause that no check names is missed by every doctor that has no such check.
"""

from __future__ import annotations

__all__ = ["CODES"]

CODES: dict[str, frozenset[str]] = {
    cause: frozenset(codes.split())
    for cause, codes in {
        # data, pairing, order
        "pair noise": "PAI002 PAI003 PAI004 PAI005 DAT002",
        "misaligned rows": "PAI001 PAI002 PAI003 PAI004 PAI005",
        "misaligned collate": "PAI001 PAI002 PAI003 PAI005",
        "little diversity": "DAT001 DAT007 DAT008 DAT011 EVA002 EVA008",
        "unscaled inputs": "DAT010",
        "class-ordered batches": "DAT003 DAT007",
        # reading
        "truncated inputs": "DAT005 DAT009",
        "unknown tokens": "DAT009",
        "id collisions": "DAT009",
        "wrong vocabulary": "DAT012",
        # candidates
        "one candidate": "NEG003 NEG005 LOS002",
        "no gather": "NEG003 NEG005",
        "stale queue": "OPT005",
        "false negatives": "NEG001 NEG002 NEG008",
        "easy negatives": "NEG005",
        "no negatives": "NEG003",
        # model
        "bottleneck": "MOD004 GEO001",
        "squashed output": "MOD003",
        "saturation": "MOD003",
        "padding": "MOD002 MOD014",
        "one direction": "GEO002 MOD003",
        "graph cut": "OPT005",
        "bad initial weights": "MOD011",
        "weights not loaded": "MOD010",
        "dead units": "MOD011 MOD013",
        # loss
        "temperature too high": "LOS001",
        "temperature too low": "LOS009",
        "normalisation": "LOS008 LOS009",
        "reversed sign": "LOS004",
        "wrong target": "LOS006 PAI001",
        "unreachable margin": "LOS003 LOS010",
        "hardest negatives": "LOS003 NEG006",
        "learned scale": "LOS001",
        "fighting terms": "LOS012",
        "popularity": "NEG007",
        # optimiser, schedule, regularisation
        "learning rate too low": "OPT007 OPT011",
        "learning rate too high": "OPT002 OPT012",
        "frozen parameters": "MOD006 OPT001 OPT004",
        "no zero_grad": "OPT006",
        "accumulation": "OPT006 OPT007 OPT011",
        "clipping": "OPT007 OPT011 OPT014",
        "weight decay": "OPT008",
        "warm-up": "OPT007 OPT009 OPT011",
        "schedule unit": "OPT009",
        "dropout": "MOD007",
        # precision, mode, teacher, evaluation
        "precision": "NUM001 NUM002 NUM003 NUM004",
        "mode": "MOD001 MOD008",
        "unreliable teacher": "PAI003 PAI004 PAI005 TEA002",
        "unreachable teacher": "TEA001",
        "stale index": "EVA004 EVA007",
        "broken metric": "EVA004",
        "other scorer": "EVA004",
    }.items()
}
