"""Facts of a program in which all is well, and one change of them for every check on programs."""

from __future__ import annotations

from typing import Any

PARTS = (
    "loss",
    "optimiser",
    "trainable",
    "order",
    "regularisation",
    "precision",
    "mode",
    "negatives",
    "brought",
    "architecture",
)

WELL: dict[str, Any] = {
    "trace.kind": "softmax",
    "trace.similarity": "cosine",
    "trace.explained": 1.0,
    "trace.scale": 20.0,
    "trace.rows": 64,
    "trace.margin": 0.0,
    "trace.active": 0.3,
    "trace.own_target": 1.0,
    "trace.own_masked": 0.0,
    "trace.unit_rows": 1.0,
    "trace.probabilities": False,
    "trace.unit_columns": 1.5,
    "trace.negatives": 1.0,
    "trace.documents": 64,
    **{
        f"demand.{name}": value
        for name, value in {
            "ideal": 0.0,
            "apart": 0.0,
            "wrong": 20.0,
            "collapsed": 4.16,
            "real": 4.4,
            "scale_free": True,
            "row_free": True,
            "own_pull": 1.0,
            "own_only": 0.9,
            "other_pull": 0.0,
            "one_rival": 0.0,
            "hardest": 0.0,
            "constant": False,
            "form": "softmax",
            "trained_documents": True,
        }.items()
    },
    "parameters.forgotten": 0.0,
    "parameters.frozen": 0.0,
    "parameters.unmoved": 0.0,
    "model.parameters": 30_000,
    "optimiser.rate": 1e-3,
    "optimiser.decay": 0.01,
    "optimiser.name": "AdamW",
    "update.steps": 1.0,
    "update.alignment": 1.0,
    "update.lost": 0.0,
    "update.ratio": 0.4,
    "start.levels": 4096,
    "rows.distinct_queries": 2432,
    "rows.bare": False,
    **{f"negatives.{name}": value for name, value in {"known": 0.0, "chained": 0.02, "chance": 0.02}.items()},
    "update.moved": 2e-3,
    "update.rate": 1e-3,
    "mode.evaluating": 0.0,
    "mode.batch_dependence": 0.0,
    "mode.place_dependence": 0.0,
    "mode.padding_dependence": 0.0,
    "start.query_alike": 0.0,
    "start.document_alike": 0.0,
    "constant.level": 4.16,
    "constant.start": 4.4,
    "constant.real": 1.2,
    "constant.query": 4.16,
    "constant.document": 4.16,
    "mode.gradient": True,
    "mode.query_gradient": True,
    "mode.document_gradient": True,
    "start.query_lowest": -0.3,
    "start.document_lowest": -0.3,
    **{
        f"popularity.{k}": v
        for k, v in {"before": 0.4, "after": 0.4, "z": 0.0, "correlation": 0.2, "documents": 800}.items()
    },
    **{
        f"hubs.{k}": v
        for k, v in {"before": 0.4, "after": 0.4, "z": 0.0, "skewness": 2.0, "isotropic": 1.5, "documents": 800}.items()
    },
    "start.document_rank": 0.6,
    "inputs.loudest": 0.1,
    "vocabulary.z": 7.0,
    "vocabulary.data_z": 5.0,
    "vocabulary.things": 300,
    "rows.pairs": 2430,
    "overfit.train": 0.97,
    "experiment.author": 0.88,
    "experiment.author_probe": 0.9,
    "experiment.course": [[0, 0.02], [100, 0.6], [200, 0.8], [300, 0.86], [400, 0.88]],
    "pairing.z": 77.0,
    "pairing.lag": 0,
    "pairing.lag_z": 77.0,
    "pairing.batch_z": 7.0,
    "pairing.rows": 2688,
    "pairing.noise": 0.01,
    "rows.seen": 2432,
    "rows.distinct_documents": 2432,
    "inputs.constant": 0.0,
    "evaluation.apart": 0.0,
    "evaluation.ignored": [],
    "evaluation.kind": "reciprocal rank",
    "weights.lost": 0.0,
    "weights.odd": 0.0,
    "experiment.own_metric": True,
    "experiment.chance": 0.024,
    "experiment.start": 0.02,
    "experiment.probe_start": 0.03,
    "experiment.reference": 0.9,
    "experiment.probe": 0.9,
    "experiment.towers": 0.85,
    "experiment.rank": 0.9,
    "experiment.rows": 256,
    "experiment.rate.times": 1.0,
    "experiment.rate.share": 0.0,
    "experiment.whole": True,
    **{
        f"experiment.{p}.{k}": v
        for p in PARTS
        for k, v in (("relative", -0.02), ("low", -0.1), ("high", 0.06), ("n", 1))
    },
}


def cost(part: str) -> dict[str, float]:
    """A part that costs a fifth of the metric."""
    return {f"experiment.{part}.relative": -0.2, f"experiment.{part}.low": -0.3, f"experiment.{part}.high": -0.12}


ILL: dict[str, dict[str, Any]] = {
    "DAT007": cost("order"),
    "DAT008": {"rows.distinct_documents": 28, "experiment.reference": 0.16},
    "DAT009": {"inputs.constant": 0.9, "experiment.probe": 0.03, "experiment.towers": 0.03},
    "PAI001": {"pairing.lag": 1, "pairing.z": -0.1},
    "PAI002": {"pairing.z": -1.6, "pairing.lag_z": 1.8},
    "PAI003": {
        "pairing.z": 0.5,
        "pairing.lag_z": 1.5,
        "pairing.batch_z": 1.0,
        "experiment.probe": 0.03,
        "experiment.towers": 0.03,
        "dealt.metric": 0.86,
    },
    "PAI004": {"pairing.noise": 0.6},
    "PAI005": {
        "experiment.probe": 0.23,
        "experiment.towers": 0.24,
        "experiment.reference": 0.62,
        "experiment.author": 0.6,
        "experiment.author_probe": 0.23,
    },
    "NEG002": cost("negatives"),
    "NEG003": {"trace.negatives": 0.0},
    "NEG004": cost("brought"),
    "LOS004": {"demand.own_pull": 0.0, "demand.ideal": 28.0, "demand.wrong": 9.0},
    "LOS005": {"trace.probabilities": True},
    "LOS006": {"trace.own_target": 0.0},
    "LOS007": {"trace.own_masked": 1.0},
    "LOS008": {"trace.unit_rows": 0.125},
    "LOS009": {"trace.scale": 5000.0},
    "LOS010": {
        "trace.kind": "hinge",
        "demand.form": "hinge",
        "demand.ideal": 0.63,
        "demand.wrong": 1.0,
        "demand.collapsed": 1.0,
    },
    "LOS012": {"demand.ideal": 98.0, "demand.wrong": 118.0},
    "NEG005": {"demand.collapsed": 1.6},
    "NEG006": {"demand.form": "hinge", "demand.one_rival": 1.0, "demand.hardest": 0.98, "demand.collapsed": 1.0},
    "LOS011": cost("loss"),
    "MOD001": {"mode.evaluating": 1.0},
    "MOD002": {"mode.batch_dependence": 0.2},
    "DAT010": {"inputs.loudest": 0.99, "scaled.raw": 0.4, "scaled.standard": 0.9},
    "DAT011": {"rows.pairs": 60, "experiment.author": 0.4},
    "DAT012": {"vocabulary.z": -0.4},
    "EVA008": {"experiment.course": [[0, 0.02], [100, 0.6], [200, 0.5], [300, 0.4], [400, 0.35]]},
    "NEG008": {"negatives.chained": 0.7, "negatives.own": 0.2, "negatives.others": 0.7},
    "NEG007": {"popularity.after": 0.6, "popularity.z": 6.0, "popularity.correlation": -0.5},
    "GEO004": {"hubs.after": 0.5, "hubs.z": 9.0, "hubs.skewness": 6.0},
    "MOD013": {"start.document_alike": 1.0},
    "MOD014": {"mode.padding_dependence": 0.3},
    "MOD003": {"start.query_lowest": 0.1, "start.document_lowest": 0.1},
    "MOD004": {"experiment.rank": 0.05},
    "MOD005": {"experiment.probe": 0.3},
    "MOD006": cost("trainable"),
    "MOD007": cost("regularisation"),
    "MOD008": cost("mode"),
    "MOD009": cost("architecture"),
    "OPT004": {"parameters.forgotten": 0.5, "parameters.forgotten_names": ["document.weight"]},
    "OPT005": {"parameters.unmoved": 0.5, "mode.document_gradient": False},
    "OPT006": {"update.alignment": 0.6},
    "OPT007": {"update.moved": 2e-6},
    "OPT008": {"optimiser.decay": 300.0},
    "OPT009": {"optimiser.rate": 1.0},
    "OPT010": cost("optimiser"),
    "OPT011": {"experiment.rate.times": 100.0, "experiment.rate.share": 0.9},
    "OPT012": {"experiment.rate.times": 0.01, "experiment.rate.share": 0.9},
    "NUM002": {"update.lost": 0.98},
    "NUM003": cost("precision"),
    "EVA004": {"experiment.reference": 0.02},
    "EVA005": {"evaluation.apart": 0.1},
    "EVA007": {"evaluation.ignored": ["document"]},
    "OPT014": {"update.ratio": 0.01, "optimiser.name": "SGD"},
    "NUM004": {"start.levels": 9},
    "TEA001": {"demand.trained_documents": False, "demand.form": "other", "demand.ideal": 3.0, "demand.wrong": 5.0},
    "TEA002": {
        "demand.trained_documents": False,
        "start.document_rank": 0.99,
        "experiment.probe": 0.3,
        "experiment.towers": 0.34,
    },
    "MOD010": {"weights.lost": 0.9},
    "MOD011": {"weights.odd": 0.9},
}

ODD: dict[str, dict[str, Any]] = {
    "DAT007": {"experiment.order.relative": -0.08},  # as seeds differ
    "DAT008": {"rows.distinct_documents": 28},  # few documents, and the held-out ones are the same
    "DAT009": {"inputs.constant": 0.9},  # short texts in a wide table
    "PAI001": {"pairing.lag": 2, "pairing.lag_z": 78.0},  # neighbours are alike
    "PAI002": {"pairing.z": 4.0},
    "PAI003": {  # ids say nothing, and are learned
        "pairing.z": 0.5,
        "experiment.probe": 0.4,
        "experiment.towers": 0.4,
        "experiment.reference": 0.5,
    },
    "PAI004": {"pairing.noise": 0.15},
    "PAI005": {"experiment.probe": 0.8, "experiment.reference": 0.9},  # fewer candidates in the held-out rows
    "NEG002": {"experiment.negatives.relative": 0.02},
    "NEG004": {},
    "NEG003": {"trace.negatives": 0.1},  # the hardest negative only
    "LOS004": {"demand.own_pull": 0.85},  # a second term pulls, too
    "LOS012": {"demand.ideal": 4.3},
    "NEG005": {"demand.collapsed": 2.7},  # processes of sixteen rows each
    "NEG006": {"demand.form": "hinge", "demand.one_rival": 1.0, "demand.hardest": 0.02},  # one at random
    "LOS005": {},
    "LOS006": {"trace.own_target": 0.995},
    "LOS007": {},
    "LOS008": {"trace.unit_rows": 7.0, "trace.similarity": "dot"},  # not normalised at all, on purpose
    "LOS009": {"trace.scale": 100.0},
    "LOS010": {"trace.kind": "hinge", "demand.form": "hinge", "demand.ideal": 0.05, "demand.collapsed": 0.5},
    "LOS011": {"experiment.loss.relative": -0.09},
    "MOD001": {},
    "MOD002": {"mode.batch_dependence": 1e-6},
    "DAT010": {"inputs.loudest": 0.99, "scaled.raw": 0.9, "scaled.standard": 0.91},  # a batch norm takes it off
    "DAT011": {"rows.pairs": 1300, "overfit.train": 0.99},  # clicks that repeat themselves
    "DAT012": {"vocabulary.z": 0.2, "vocabulary.data_z": 0.5},  # names and numbers
    "EVA008": {"experiment.course": [[0, 0.02], [100, 0.9], [200, 0.88], [300, 0.89], [400, 0.87]]},  # it wavers
    "NEG008": {"negatives.chained": 0.9, "negatives.chance": 0.9},  # clicks join everybody with everybody
    "NEG007": {"popularity.after": 0.42, "popularity.z": 5.0},  # a prior helps a little nearly always
    "GEO004": {"hubs.skewness": 9.0, "hubs.after": 0.41, "hubs.z": 5.0},  # hubs that take nobody's place
    "MOD013": {"start.query_alike": 0.02, "constant.query": 1.5},  # word orders; documents tell most by themselves
    "MOD014": {"mode.padding_dependence": 2e-6},
    "MOD003": {"start.query_lowest": -0.01},
    "MOD004": {"experiment.rank": 0.4},
    "MOD005": {"experiment.probe": 0.7},
    "MOD006": {"experiment.trainable.relative": 0.05},
    "MOD007": {"experiment.regularisation.relative": -0.05},
    "MOD008": {},
    "MOD009": {},
    "OPT004": {"parameters.frozen": 0.01},
    "OPT005": {"parameters.unmoved": 0.01, "mode.document_gradient": False},
    "OPT006": {"update.alignment": 0.9999},
    "OPT007": {"update.moved": 3e-5},  # a pretrained encoder
    "OPT008": {"optimiser.decay": 0.1},
    "OPT009": {"optimiser.rate": 4e-3},
    "OPT010": {},
    "OPT011": {"experiment.rate.times": 10.0, "experiment.rate.share": 0.1},
    "OPT012": {"experiment.rate.times": 0.1, "experiment.rate.share": 0.1},
    "NUM002": {"update.lost": 0.01},
    "NUM003": {},
    "EVA004": {"experiment.reference": 0.3, "evaluation.kind": "share"},  # another metric than the rank
    "EVA005": {"evaluation.apart": 0.001},
    "EVA007": {},
    "OPT014": {"update.ratio": 0.3, "optimiser.name": "SGD"},  # a limit that bites a little
    "NUM004": {"start.levels": 255},
    "TEA001": {"demand.trained_documents": False, "demand.form": "other", "demand.real": 1.0, "demand.collapsed": 0.0},
    # a teacher whose vectors were whitened
    "TEA002": {"demand.trained_documents": False, "start.document_rank": 0.99, "demand.real": 4.4},
    "MOD011": {"weights.odd": 0.01},
    "MOD010": {"weights.lost": 0.04},  # a head that was replaced
}
