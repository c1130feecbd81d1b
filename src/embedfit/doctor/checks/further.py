"""PAI, MOD, OPT: what a few steps of a program show where the exchange of a part did not say why."""

from __future__ import annotations

__all__ = ["CannotFitOneBatch", "LearnedByHeart", "SwappedRoles", "UnstoredState"]

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import number
from embedfit.run import Run


@dataclass(frozen=True)
class LearnedByHeart(Check):
    """The loss falls as far on pairs dealt anew as on the pairs of the data.

    ## What it measures
    The author's program is trained on its rows, and again on the same rows with the documents dealt to other queries.
    The fall of the loss on dealt rows as a share of the fall on the real ones. Above {share:.0%} it is worth a look,
    if the loss falls by {fall:.0%} at all. Asked only where the program falls short of the trusted recipe, or that
    recipe learns nothing either, and no part of the program explains it.

    ## Why it hurts
    What is learned is not what pairs have in common but which row is which: nothing of it carries over to new rows.

    ## What to do
    Look at some pairs by hand, and at how they were joined. If they are right: more rows, fewer parameters, inputs that
    say more than an id.

    ## How to confirm
    Train on some hundred pairs you vouch for, and on the same pairs dealt anew: only the first should learn.

    ## References
    - Zhang et al. 2017, Understanding deep learning requires rethinking generalization,
      https://arxiv.org/abs/1611.03530
    """

    code = "PAI006"
    name = "learned-by-heart"
    component = "pairing"
    needs = ("shuffled.start", "shuffled.real", "shuffled.dealt")

    share: float = 0.8
    fall: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare how far the loss falls on both."""
        start, real, dealt = (number(run, f"shuffled.{name}") for name in ("start", "real", "dealt"))
        if start - real < self.fall * abs(start):
            raise NotApplicableError("the loss hardly falls, with which nothing can be compared")
        value = (start - dealt) / (start - real)
        statistic = Statistic(name="fall on dealt pairs / on real ones", value=value, limit=self.share, n=2)
        told = f"the loss falls from {start:.3g} to {real:.3g}, on pairs dealt anew to {dealt:.3g}"
        if value <= self.share:
            return self.finding(Outcome.CLEAR, told, statistic)
        cure = Prescription(why="look at some pairs by hand: do both sides of a row belong together?")
        return self.finding(Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class SwappedRoles(Check):
    """The towers find more when queries and documents change places.

    ## What it measures
    The mean reciprocal rank of the untrained program on rows held back, as it is and with the inputs of both sides
    exchanged. More than {errors} standard errors of the paired difference, and {gain:.0%} of the value, in favour of
    the exchange is worth a look. Asked only of towers that tell pairs apart before training.

    ## Why it hurts
    Pretrained towers have roles: a query tower or a query prompt was trained on questions. The wrong way round they
    start worse, and fine-tuning has to undo it.

    ## What to do
    Exchange the columns, the towers or the prompts ("query: ", "passage: "), whichever is the wrong way round.

    ## How to confirm
    Train for a few hundred steps with the roles exchanged and compare the held-out metric.

    ## References
    - Wang et al. 2022 (E5, prefixes of queries and passages), https://arxiv.org/abs/2212.03533
    """

    code = "PAI007"
    name = "swapped-roles"
    component = "pairing"
    needs = ("roles.as_is", "roles.swapped", "roles.z", "roles.rows")

    errors: float = 4.0
    gain: float = 0.1

    def examine(self, run: Run) -> Finding:
        """Compare both ways."""
        as_is, swapped, z = (number(run, f"roles.{name}") for name in ("as_is", "swapped", "z"))
        n = int(number(run, "roles.rows"))
        statistic = Statistic(name="exchanged against as it is, standard errors", value=z, limit=self.errors, n=n)
        told = f"before training, pairs are found with {as_is:.3f}, with the sides exchanged {swapped:.3f}"
        if z <= self.errors or swapped < (1 + self.gain) * as_is:
            return self.finding(Outcome.CLEAR, told, statistic)
        cure = Prescription(why="exchange the columns, the towers or their prompts")
        return self.finding(Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class UnstoredState(Check):
    """A program that goes on from its stored state is not the one that was stored.

    ## What it measures
    After some steps the state of model and optimiser is handed to a fresh program, and both take the same step on the
    same batch. Difference of the losses as a share, above {loss:g}, or of the updates, above {update:g}, is worth a
    look. Nothing is said of schedules, whose state lies elsewhere.

    ## Why it hurts
    Parameters in a plain list, buffers that are not stored, counters of the loss: what the state does not hold begins
    anew with every resumption, and the model that is served is not the one that was trained.

    ## What to do
    Register what is learned (`nn.Parameter`, `nn.ModuleList`, `register_buffer`), hand the loss's parameters to the
    model, and store optimiser, schedule and random states together.

    ## How to confirm
    Store, load and take one step: loss and weights are equal, bit for bit on a CPU.

    ## References
    - PyTorch, Saving and loading a general checkpoint,
      https://docs.pytorch.org/tutorials/recipes/recipes/saving_and_loading_a_general_checkpoint.html
    """

    code = "MOD012"
    name = "unstored-state"
    component = "architecture"
    needs = ("resume.loss_apart", "resume.update_apart")
    advisory = True

    loss: float = 1e-4
    update: float = 1e-2

    def examine(self, run: Run) -> Finding:
        """Compare loss and update of the two."""
        loss, update = number(run, "resume.loss_apart"), number(run, "resume.update_apart")
        worse = max((loss / self.loss, loss, self.loss, "loss"), (update / self.update, update, self.update, "update"))
        statistic = Statistic(name=f"difference of the {worse[3]} after resuming", value=worse[1], limit=worse[2], n=1)
        if worse[0] <= 1:
            return self.finding(Outcome.CLEAR, "a step after resuming is the step without", statistic)
        told = f"after resuming, the loss of the same step differs by {loss:.2g} of itself, the update by {update:.2g}"
        cure = Prescription(why="register parameters and buffers, and store optimiser and model together")
        return self.finding(Outcome.WATCH, told, statistic, cure)


@dataclass(frozen=True)
class CannotFitOneBatch(Check):
    """Even one batch, again and again, is not learned.

    ## What it measures
    The share of a batch's queries whose nearest document is their own, after a hundred of the author's steps on that
    batch without dropout. Below {share:.0%}, and no more than {gain} above what it was before, it is worth a look.
    Asked only where the program falls short, or nothing is learned, and no part explains it.

    ## Why it hurts
    Data, negatives and generalisation have no part in this: model, loss and update together cannot even learn by heart.
    Where one batch is learned, look at the data instead.

    ## What to do
    A learning rate ten times as high and a tenth; outputs that cannot point where they should (a last ReLU, a sigmoid);
    a loss whose gradient is cut or vanishes; weights that the optimiser does not hold.

    ## How to confirm
    Exchange loss and update for a plain softmax at a temperature of .05 and AdamW at 1e-3: that should fit the batch.

    ## References
    - Karpathy 2019, A recipe for training neural networks, https://karpathy.github.io/2019/04/25/recipe/
    """

    code = "OPT013"
    name = "cannot-fit-one-batch"
    component = "optimiser"
    needs = ("one_batch.start", "one_batch.end", "one_batch.rows")

    share: float = 0.5
    gain: float = 0.2

    def examine(self, run: Run) -> Finding:
        """Look at what was learned by heart."""
        start, end = number(run, "one_batch.start"), number(run, "one_batch.end")
        statistic = Statistic(
            name="own document nearest", value=end, limit=self.share, n=int(number(run, "one_batch.rows"))
        )
        told = f"of one batch, {end:.0%} is learned by heart (before: {start:.0%})"
        if end >= self.share or end - start > self.gain:
            return self.finding(Outcome.CLEAR, told, statistic)
        cure = Prescription(why="look at loss, update and outputs: the data have no part in it")
        return self.finding(Outcome.WATCH, f"not even one batch is learned: {told}", statistic, cure)
