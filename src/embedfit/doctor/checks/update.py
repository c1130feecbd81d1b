"""OPT and NUM: what one update does, watched through the optimiser's hooks."""

from __future__ import annotations

__all__ = [
    "ForgottenParameters", "GradientUnderflow", "NeverSteps",
    "StaleGradients", "Unreached",
]  # fmt: skip

from dataclasses import dataclass

from embedfit.doctor.check import Check, Finding, NotApplicableError, Outcome, Prescription, Statistic
from embedfit.doctor.readings import find, number
from embedfit.run import Run


@dataclass(frozen=True)
class ForgottenParameters(Check):
    """Parameters that nobody trains: the optimiser was not given them, or they are frozen.

    ## What it measures
    The share of the model's parameters that the optimiser does not hold or that take no gradient. Above {share:.0%}
    it is a fault unless it was declared (`Doctor(..., frozen=[...])`).

    ## Why it hurts
    Half of a two-tower model that stands still caps what the other half can learn.

    ## What to do
    Make the optimiser after the model is complete and wrapped; give it `model.parameters()`.

    ## How to confirm
    Training with all parameters, everything else as it is.

    ## References
    - https://github.com/huggingface/accelerate/issues/2665 (parameters replaced after the optimiser was made)
    """

    code = "OPT004"
    name = "forgotten-parameters"
    component = "optimiser"
    needs = ("parameters.forgotten", "parameters.frozen")
    part = "trainable"

    share: float = 0.02

    def examine(self, run: Run) -> Finding:
        """Add up what is not trained."""
        forgotten, frozen = number(run, "parameters.forgotten"), number(run, "parameters.frozen")
        value = forgotten + frozen
        statistic = Statistic(
            name="share of parameters not trained",
            value=value,
            limit=self.share,
            n=int(find(run, "model.parameters") or 0),
        )
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "the optimiser holds all parameters", statistic)
        names = [*(find(run, "parameters.forgotten_names") or []), *(find(run, "parameters.frozen_names") or [])]
        words = "frozen" if frozen > forgotten else "unknown to the optimiser"
        told = f"{value:.0%} of the parameters are {words}: {', '.join(map(str, names[:3]))}"
        why = "give the optimiser model.parameters(), after the model is complete; requires_grad_(True)"
        foreign = int(find(run, "parameters.foreign") or 0)
        if forgotten > frozen and foreign:
            told += f"; it moves {foreign} tensors that are no part of the model"
            why = "make the optimiser after the model: parts of it were replaced when the optimiser was there already"
        return self.finding(Outcome.ISSUE, told, statistic, Prescription(why=why))


@dataclass(frozen=True)
class Unreached(Check):
    """The graph is cut: parameters that the optimiser holds get no gradient.

    ## What it measures
    The share of the trainable parameters that did not move, or got no gradient, in each of four updates, while one
    side's embeddings carry no gradient. Above {share:.0%} it is a fault.

    ## Why it hurts
    What is behind a `detach`, a `no_grad` or a trip through NumPy does not learn.

    ## What to do
    Take the cut away. Where it is meant (a momentum encoder, stop-gradient), declare the tower as frozen.

    ## How to confirm
    Training with the cut taken away.

    ## References
    - The autograd mechanics of PyTorch, https://pytorch.org/docs/stable/notes/autograd.html
    """

    code = "OPT005"
    name = "graph-cut"
    component = "architecture"
    needs = ("parameters.unmoved",)
    part = "graph"

    share: float = 0.02

    def examine(self, run: Run) -> Finding:
        """Compare the unmoved share with the limit."""
        value = number(run, "parameters.unmoved")
        statistic = Statistic(
            name="share of parameters unmoved", value=value, limit=self.share, n=int(find(run, "model.parameters") or 0)
        )
        if find(run, "mode.gradient") is False:
            return self.finding(
                Outcome.ISSUE,
                "the loss carries no gradient at all",
                statistic,
                Prescription(why="look for no_grad, detach, .item() or .data between model and loss"),
            )
        cut = [side for side in ("query", "document") if find(run, f"mode.{side}_gradient") is False]
        if value <= self.share or not cut:
            return self.finding(Outcome.CLEAR, "gradients reach the parameters of both sides", statistic)
        cure = Prescription(why="look for detach, no_grad or NumPy on the way from the tower to the loss")
        return self.finding(
            Outcome.ISSUE,
            f"no gradient reaches the {' and '.join(cut)} side ({value:.0%} of the parameters)",
            statistic,
            cure,
        )


@dataclass(frozen=True)
class StaleGradients(Check):
    """Gradients of earlier steps are still in the step.

    ## What it measures
    The gradient that the optimiser sees against one worked out afresh on the same batch, the lowest cosine of four
    updates. Below {cosine} it is a fault, unless more than {lost:.0%} of the entries were rounded
    away. Accumulation over several batches on purpose, without a step in between, is not.

    ## Why it hurts
    Without zero_grad each step moves along the sum of all gradients so far.

    ## What to do
    `optimizer.zero_grad()` once per step; divide by the number of accumulated batches.

    ## How to confirm
    Training with zero_grad, backward and step alone.

    ## References
    - The documentation of zero_grad, https://pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html
    """

    code = "OPT006"
    name = "stale-gradients"
    component = "optimiser"
    needs = ("update.alignment", "update.lost", "update.steps")
    part = "optimiser"

    cosine: float = 0.99
    lost: float = 0.05

    def examine(self, run: Run) -> Finding:
        """Compare both gradients."""
        value = number(run, "update.alignment")
        statistic = Statistic(name="cosine with a fresh gradient", value=value, limit=self.cosine, n=4)
        if value != value or number(run, "update.steps") < 1:
            raise NotApplicableError("the optimiser does not step at every update")
        if value >= self.cosine or number(run, "update.lost") > self.lost:
            return self.finding(
                Outcome.CLEAR, f"the optimiser sees the gradient of its batch (cosine {value:.3f})", statistic
            )
        cure = Prescription(why="call optimizer.zero_grad() once per step")
        return self.finding(
            Outcome.ISSUE,
            f"the optimiser sees something else than the gradient of its batch (cosine {value:.2f})",
            statistic,
            cure,
        )


@dataclass(frozen=True)
class NeverSteps(Check):
    """The optimiser rarely or never steps, or not far enough to matter.

    ## What it measures
    Steps of the optimiser per update, in four updates; none is a fault. A step that moves the weights by less than
    {moved:g} of their size is worth a look.

    ## Why it hurts
    Weights that stand still learn nothing.

    ## What to do
    Call step(); look at the learning rate, at clipping (with SGD a tiny limit is a tiny step) and at a scaler that
    skips steps.

    ## How to confirm
    Training with the reference optimiser, and with the author's at a higher rate.

    ## References
    - Smith 2017, Cyclical learning rates (the range test), https://arxiv.org/abs/1506.01186
    """

    code = "OPT007"
    name = "hardly-any-step"
    component = "optimiser"
    needs = ("update.steps", "update.moved")
    part = "optimiser"

    moved: float = 1e-5

    def examine(self, run: Run) -> Finding:
        """Compare the step with the limit."""
        value, steps = number(run, "update.moved"), number(run, "update.steps")
        if float(find(run, "parameters.forgotten") or 0.0) == 1:
            raise NotApplicableError("the optimiser holds no parameter of the model, so that no step can move one")
        statistic = Statistic(name="step / weights", value=value, limit=self.moved, n=4)
        if steps == 0:
            return self.finding(
                Outcome.ISSUE,
                "four updates, and the optimiser has not stepped once",
                statistic,
                Prescription(why="call optimizer.step()"),
            )
        if value >= self.moved:
            return self.finding(Outcome.CLEAR, f"a step moves the weights by {value:.1e} of their size", statistic)
        ratio = float(find(run, "update.ratio") or 1.0)
        why = "raise the limit of the gradient's norm" if ratio < 0.1 else "raise the learning rate"
        return self.finding(
            Outcome.WATCH,
            f"a step moves the weights by only {value:.1e} of their size",
            statistic,
            Prescription(why=why),
        )


@dataclass(frozen=True)
class GradientUnderflow(Check):
    """Gradients are rounded to zero.

    ## What it measures
    Entries of the gradient that are not zero when worked out afresh and zero when the optimiser sees them. Above
    {share:.0%} it is a fault.

    ## Why it hurts
    In fp16 what is below 6e-8 is zero: without a loss scale most of a small gradient disappears.

    ## What to do
    bfloat16 instead of float16, or a GradScaler; keep similarities, normalisation and the loss in fp32.

    ## How to confirm
    Training with the reference optimiser in fp32.

    ## References
    - Micikevicius et al. 2018, Mixed precision training, https://arxiv.org/abs/1710.03740
    """

    code = "NUM002"
    name = "gradient-underflow"
    component = "precision"
    needs = ("update.lost",)
    part = "optimiser"

    share: float = 0.05

    def examine(self, run: Run) -> Finding:
        """Compare the lost share with the limit."""
        value = number(run, "update.lost")
        statistic = Statistic(name="gradient entries rounded to zero", value=value, limit=self.share, n=4)
        if value <= self.share:
            return self.finding(Outcome.CLEAR, "no part of the gradient is rounded away", statistic)
        cure = Prescription(why="bfloat16, or a loss scale; logits, norms and the loss in fp32")
        return self.finding(
            Outcome.ISSUE,
            f"{value:.0%} of the gradient is rounded to zero before the optimiser sees it",
            statistic,
            cure,
        )
