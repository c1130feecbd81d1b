"""The optimisers there are, each as torch or a well-kept package has it."""

from __future__ import annotations

__all__ = ["Kind", "whole"]

from typing import Any, Literal

import torch

from embedfit.errors import RecipeError

Kind = Literal["adamw", "adam", "sgd", "adagrad", "rmsprop", "muon", "schedule_free"]

EPSILON = 1e-8
ADAGRAD_EPSILON = 1e-10
RMSPROP_DECAY = 0.99


def whole(
    kind: Kind, settings: list[dict[str, Any]], *, betas: tuple[float, float], momentum: float
) -> list[torch.optim.Optimizer]:
    """The optimisers that move whole tensors; every group of parameters belongs to one of them.

    Args:
        kind: adamw (decoupled decay), adam (decay in the gradient), sgd (with momentum), adagrad, rmsprop, muon,
            schedule_free (AdamW whose average of the weights takes the place of a schedule).
        settings: one per group, with what `embedfit.optim.Group` says of it; they become groups of the optimisers.
        betas: of Adam, AdamW and schedule-free.
        momentum: of SGD and Muon.

    Raises:
        RecipeError: this torch has no Muon, or the package schedulefree is not installed.

    References:
        Kingma and Ba 2015, https://arxiv.org/abs/1412.6980; Loshchilov and Hutter 2019,
        https://arxiv.org/abs/1711.05101; Duchi, Hazan and Singer 2011, https://jmlr.org/papers/v12/duchi11a.html;
        Tieleman and Hinton 2012 (RMSProp, lecture 6.5); Jordan 2024 (Muon), https://kellerjordan.github.io/posts/muon;
        Defazio et al. 2024 (schedule-free), https://arxiv.org/abs/2405.15682.
    """
    # rates are written into the groups at every step
    match kind:
        case "adamw":
            return [torch.optim.AdamW(settings, lr=0.0, betas=betas, eps=EPSILON, fused=True)]
        case "adam":
            return [torch.optim.Adam(settings, lr=0.0, betas=betas, eps=EPSILON, fused=True)]
        case "sgd":
            return [torch.optim.SGD(settings, lr=0.0, momentum=momentum, fused=True)]
        case "adagrad":
            return [torch.optim.Adagrad(settings, lr=0.0, eps=ADAGRAD_EPSILON)]
        case "rmsprop":
            return [torch.optim.RMSprop(settings, lr=0.0, alpha=RMSPROP_DECAY, eps=EPSILON)]
        case "muon":
            return _muon(settings, betas, momentum)
        case "schedule_free":
            return [_schedule_free(settings, betas)]


def _muon(settings: list[dict[str, Any]], betas: tuple[float, float], momentum: float) -> list[torch.optim.Optimizer]:
    """Muon on hidden matrices, with steps as large as AdamW's, and AdamW on all else (Liu et al. 2025, eq. 4)."""
    try:
        from torch.optim import Muon
    except ImportError:
        raise RecipeError("this torch has no Muon", hint="it came with torch 2.9: pip install -U torch") from None
    hidden = [s for s in settings if s["place"] in ("layers", "head") and all(p.ndim == 2 for p in s["params"])]
    rest = [s for s in settings if not any(s is h for h in hidden)]
    made: list[torch.optim.Optimizer] = []
    if hidden:
        made.append(Muon(hidden, lr=0.0, momentum=momentum, adjust_lr_fn="match_rms_adamw"))
    if rest:
        made.append(torch.optim.AdamW(rest, lr=0.0, betas=betas, eps=EPSILON, fused=True))
    return made


def _schedule_free(settings: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.Optimizer:
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError:
        raise RecipeError(
            'optim.kind = "schedule_free" needs the package schedulefree', hint="pip install 'embedfit[schedulefree]'"
        ) from None
    made = AdamWScheduleFree(settings, lr=0.0, betas=betas, eps=EPSILON)
    made.train()
    return made
