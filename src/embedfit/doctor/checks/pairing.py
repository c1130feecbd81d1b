"""PAI: whether row i of the queries belongs to row i of the documents."""

from __future__ import annotations

__all__ = ["ConstantInputs", "MisalignedRows", "MixedWithinBatches", "NoisyPairs", "UnrelatedPairs"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.dealt import risen
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class MisalignedRows(Check):
    """Queries and documents are shifted against each other.

    ## What it measures
    Documents are predicted from queries, by their inputs alone (ridge regression on hashed features, out of sample), at
    several shifts of the rows. Where a shift fits with more than {z} standard deviations, and the rows as they are fit
    less than half as well, they are misaligned. The standard deviation is exact, over all ways to pair the rows.

    ## Why it hurts
    Every pair is wrong. The loss stays at chance, or the model learns a relation that is not the one meant.

    ## What to do
    Carry an id through the collate function and compare; one sampler for both sides; no filter on one side alone.

    ## How to confirm
    Shift the documents back and train for as many steps.

    ## References
    - Hoeffding 1951, A combinatorial central limit theorem, https://doi.org/10.1214/aoms/1177729545
    """

    code = "PAI001"
    name = "misaligned-rows"
    component = "pairing"
    needs = ("pairing.lag", "pairing.lag_z", "pairing.z")

    z: float = 6.0

    def examine(self, run: Run) -> Finding:
        """Compare the best shift with none."""
        lag, best, own = int(number(run, "pairing.lag")), number(run, "pairing.lag_z"), number(run, "pairing.z")
        statistic = Statistic(
            name=f"pair z at a shift of {lag}", value=best, limit=self.z, n=int(find(run, "pairing.rows") or 0)
        )
        if lag == 0 or best < self.z or own > best / 2:
            return self.finding(
                Outcome.CLEAR, f"no shift of the rows fits better than none (pair z {own:.1f})", statistic
            )
        cure = Prescription(
            why=f"the documents stand {lag:+d} rows from their queries: mend the collate function or a sampler"
        )
        return self.finding(
            Outcome.ISSUE,
            f"document i belongs to query i {-lag:+d}: pair z {best:.1f} there, {own:.1f} as it is",
            statistic,
            cure,
        )


@dataclass(frozen=True)
class MixedWithinBatches(Check):
    """The documents of a batch belong to its queries, but not row by row.

    ## What it measures
    Whether the mean of a batch's queries predicts the mean of its documents (pair z over batches above {z}), while
    single queries do not predict their documents (pair z below {own}).

    ## Why it hurts
    Every pair is wrong, though the right documents are in the batch: something put one side in another order.

    ## What to do
    Look for a sort, a shuffle or a set between reading and the loss that touches one side only.

    ## How to confirm
    Carry the row's id through the collate function and compare both sides.

    ## References
    - Hoeffding 1951, A combinatorial central limit theorem, https://doi.org/10.1214/aoms/1177729545
    """

    code = "PAI002"
    name = "mixed-within-batches"
    component = "pairing"
    needs = ("pairing.z", "pairing.batch_z")

    z: float = 4.0
    own: float = 3.0

    def examine(self, run: Run) -> Finding:
        """Compare the relation of batches with that of rows."""
        own, batch = number(run, "pairing.z"), number(run, "pairing.batch_z")
        statistic = Statistic(
            name="pair z of batch means", value=batch, limit=self.z, n=int(find(run, "pairing.rows") or 0)
        )
        if own >= self.own or batch < self.z or number(run, "pairing.lag_z") > 2 * self.own:
            return self.finding(Outcome.CLEAR, f"rows are related as they are (pair z {own:.1f})", statistic)
        cure = Prescription(why="one side is put in another order inside of each batch: look at the collate function")
        return self.finding(
            Outcome.ISSUE,
            f"batches of both sides are related (z {batch:.1f}), their rows are not (z {own:.1f})",
            statistic,
            cure,
        )


@dataclass(frozen=True)
class UnrelatedPairs(Check):
    """No relation between queries and their documents can be found.

    ## What it measures
    The inputs of the queries predict those of their documents no better than chance (pair z below {z}), and the trusted
    reference, trained on the author's rows, finds held-back documents no more than {times} times as well as chance,
    whether with the author's towers or with its own. Where the author's metric rises all the same, the author's program
    is trained on pairs dealt anew: only if these are worth {share:.0%} of that rise, as documents that are asked for
    often are, is there no relation. Of bare ids nothing is claimed before each was seen {visits} times.

    ## Why it hurts
    What is not in the pairs cannot be learned: a join on the wrong key, a file whose columns were sorted apart, ids of
    another version. Or the features carry nothing of what relates the two sides.

    ## What to do
    Read twenty pairs. Then look at the join that made them.

    ## How to confirm
    Train on two hundred pairs that you vouch for.

    ## References
    - Zhang et al. 2017, Understanding deep learning requires rethinking generalization,
      https://arxiv.org/abs/1611.03530
    """

    code = "PAI003"
    name = "unrelated-pairs"
    component = "pairing"
    needs = ("pairing.z", "experiment.probe", "experiment.chance")

    z: float = 3.0
    times: float = 3.0
    share: float = 0.8
    visits: int = 10

    def examine(self, run: Run) -> Finding:
        """Compare what the reference learned, and the relation of the inputs, with chance."""
        own, chance = number(run, "pairing.z"), number(run, "experiment.chance")
        best = max(number(run, "experiment.probe"), float(find(run, "experiment.towers") or 0.0))
        if not find(run, "experiment.own_metric"):  # the author's program was not shown the rows held back
            best = max(best, float(find(run, "experiment.author_probe") or 0.0))
        statistic = Statistic(
            name="reference / chance", value=best / chance, limit=self.times, n=int(find(run, "rows.seen") or 0)
        )
        if best > self.times * chance or own > 2 * self.z:
            return self.finding(
                Outcome.CLEAR, f"the reference learns these pairs ({best:.3f}, chance {chance:.3f})", statistic
            )
        if number(run, "pairing.batch_z") > 4 or number(run, "pairing.lag_z") > 6:
            raise NotApplicableError("the rows are mixed up, see the other checks of pairing")
        if find(run, "experiment.towers") is None:
            raise NotApplicableError("there was no time to train the reference towers")
        found = self._found_by_author(run)
        if found:
            return self.finding(Outcome.CLEAR, found, statistic)
        cure = Prescription(why="read twenty pairs, then look at the join that made them")
        return self.finding(
            Outcome.ISSUE,
            f"nothing relates queries and documents: even the reference finds {best:.3f}, chance is {chance:.3f}",
            statistic,
            cure,
        )

    def _found_by_author(self, run: Run) -> str:
        """What the author's program finds in the pairs and the reference does not; empty for nothing.

        Raises:
            NotApplicableError: nobody had a fair chance, or it is not known what the author's metric rose by.
        """
        seen, rows = (
            float(find(run, "experiment.steps") or 0) * float(find(run, "trace.rows") or 0),
            find(run, "rows.bare"),
        )
        ids = max(float(find(run, f"rows.distinct_{side}") or 0) for side in ("queries", "documents"))
        if rows and seen < self.visits * ids:
            raise NotApplicableError(f"ids were seen {seen / max(1.0, ids):.1f} times each: too few to learn them")
        if not find(run, "experiment.own_metric"):
            return ""
        start, end, dealt = (find(run, f"{name}") for name in ("experiment.start", "experiment.author", "dealt.metric"))
        if start is None or end is None or not risen({"experiment.start": start, "experiment.author": end}):
            return ""
        if dealt is None:
            raise NotApplicableError("the author's metric rises, and there was no time to find out why")
        if dealt - start >= self.share * (end - start):
            return ""
        return f"the author's program finds these pairs: {end:.3f}, on pairs dealt anew {dealt:.3f}"


@dataclass(frozen=True)
class NoisyPairs(Check):
    """Many pairs do not belong together, among others that do.

    ## What it measures
    After training with the reference recipe, the ranks of held-back rows: pairs that are related come first, pairs
    without relation fall evenly over all ranks. Four times the share in the worst quarter estimates how many those are;
    above {share:.0%} it is a fault.

    ## Why it hurts
    Wrong pairs pull at random, and as hard as the right ones. Some per cent do little harm, half of them much.

    ## What to do
    Read the pairs with the worst ranks; mend what made them, or leave out those that a trained model contradicts.

    ## How to confirm
    Train without the contradicted pairs for as many steps.

    ## References
    - Northcutt, Jiang and Chuang 2021, Confident learning, https://arxiv.org/abs/1911.00068
    """

    code = "PAI004"
    name = "noisy-pairs"
    component = "pairing"
    needs = ("pairing.noise",)

    share: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Compare the estimate with the limit."""
        value, n = number(run, "pairing.noise"), int(find(run, "experiment.rows") or 0)
        if value != value:
            raise NotApplicableError("the reference does not find enough pairs to tell noise from difficulty")
        statistic = Statistic(name="share of pairs without relation", value=value, limit=self.share, n=n)
        if value <= self.share:
            return self.finding(Outcome.CLEAR, f"about {value:.0%} of the pairs have no relation", statistic)
        cure = Prescription(why="read the pairs that rank worst, and leave out those that a trained model contradicts")
        return self.finding(Outcome.ISSUE, f"about {value:.0%} of the pairs do not belong together", statistic, cure)


@dataclass(frozen=True)
class ConstantInputs(Check):
    """Most of an input is the same in every row: what should tell rows apart does not reach the model.

    ## What it measures
    The share of the positions of a query's or document's input that never change. Above {share:.0%} it is a fault where
    the reference finds held-back documents less than {times:.0f} times as well as chance.

    ## Why it hurts
    Texts cut to a few tokens, features filled with zeros, a vocabulary in which everything is unknown: rows become
    alike, and no model can tell them apart again.

    ## What to do
    Print the inputs of three different rows. Read longer texts, and check the tokenizer and the join of features.

    ## How to confirm
    Train on inputs that are whole.

    ## References
    - Dai and Callan 2019, Deeper text understanding for IR, https://arxiv.org/abs/1905.09217
    """

    code = "DAT009"
    name = "constant-inputs"
    component = "tokenizer"
    needs = ("inputs.constant", "experiment.probe", "experiment.chance")

    share: float = 0.5
    times: float = 8.0

    def examine(self, run: Run) -> Finding:
        """Compare the constant share with the limit, where little can be learned."""
        value, times = (
            number(run, "inputs.constant"),
            number(run, "experiment.probe") / number(run, "experiment.chance"),
        )
        statistic = Statistic(
            name="constant share of an input", value=value, limit=self.share, n=int(find(run, "rows.seen") or 0)
        )
        if value <= self.share or times > self.times:
            return self.finding(Outcome.CLEAR, f"{value:.0%} of the positions of an input never change", statistic)
        cure = Prescription(why="print the inputs of three rows; read longer texts, check tokenizer and joins")
        return self.finding(Outcome.ISSUE, f"{value:.0%} of an input is the same in every row", statistic, cure)
