"""Whether a run's latents carry anything, in words computed from the measures and their errors."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from scipy import stats

from analysis.collapse import CollapseMeasures, Measure

# Nats per image: below it the latents carry next to nothing, above it they are in use.
LIMIT = 0.5
_LEVEL = 0.95
# The lower bound is said to be at its cap where less than so many nats are left and the upper one is this far away.
_NEAR, _APART = 1.0, 0.1
_NAMED = 8


class State(StrEnum):
    """What is established about one run at one-sided 95%: see `state_of`."""

    CARRIES = "carries information"
    COLLAPSED = "collapsed"
    UNDECIDED = "undecided"


def state_of(found: CollapseMeasures) -> State:
    """``CARRIES`` where the lower limit of the lower bound on I_q(x; z) is above 0.5 nats; ``COLLAPSED`` where the
    upper limit of the rate, which bounds the information, or of the upper bound is below it; else ``UNDECIDED``.

    A rate alone is no information: a guide that ignores x and differs from the prior has one.
    """
    if _limit(found, "information_lower", -1) > LIMIT:
        return State.CARRIES
    if _limit(found, "rate", 1) < LIMIT or _limit(found, "information_upper", 1) < LIMIT:
        return State.COLLAPSED
    return State.UNDECIDED


def _limit(found: CollapseMeasures, name: str, side: int) -> float:
    """The one-sided 95% limit of a mean over images, by Student's t; NaN, which compares false, where there is none."""
    measure = found[name]
    count = int(np.isfinite(found.dataset[name].values).sum())
    if count < 2:
        return math.nan
    return measure.value + side * float(stats.t.ppf(_LEVEL, count - 1)) * measure.stderr


def sentences(found: CollapseMeasures) -> list[str]:
    """What the measures of one run say: its state first, then dimensions, cap, decoder and aggregate posterior."""
    lines = [_state(found), _activity(found), _cap(found), _decoder(found), _aggregate(found)]
    return [line for line in lines if line]


def _state(found: CollapseMeasures) -> str:
    rate, lower, upper = found["rate"], found["information_lower"], found["information_upper"]
    state = state_of(found)
    words = f"the rate is {_with_claim(rate)} nats"
    if lower.is_known:
        words = f"between {_with_claim(lower)} and {_with_claim(upper)} nats about an image, {words}"
        if upper.value > rate.value:
            words += ", which bounds the information too"
    else:
        words += f"; the information is not known: {lower.reason}"
    start = {
        State.CARRIES: "The latents carry information",
        State.COLLAPSED: "The latents have collapsed",
        State.UNDECIDED: f"Undecided: no limit at 95% lies clear of {LIMIT:g} nats",
    }[state]
    return f"{start}: {words}."


def _activity(found: CollapseMeasures) -> str:
    active, total, scaled = (int(found[name].value) for name in ("active_units", "num_latents", "active_units_scaled"))
    text = f"{active} of {total} dimensions are active: Var_x[E_q(z_l | x)] at {found.threshold:g} or above"
    if scaled != active:
        text += f", and {scaled} with the threshold on the scale of the prior"
    dead = found.latents[~found.active]
    if 0 < len(dead) < total:
        more = f" and {len(dead) - _NAMED} more" if len(dead) > _NAMED else ""
        text += f". Dead: {', '.join(map(str, dead[:_NAMED]))}{more}"
    return f"{text}."


def _cap(found: CollapseMeasures) -> str:
    lower, upper, cap = found["information_lower"], found["information_upper"], math.log(found.num_images)
    if not lower.is_known or cap - lower.value > _NEAR or upper.value - lower.value < _APART:
        return ""
    return (
        f"The lower bound is {cap - lower.value:.2f} nats below its cap, ln {found.num_images} = {cap:.2f}: "
        "more images, not more draws, would tell more."
    )


def _decoder(found: CollapseMeasures) -> str:
    lost = found["lost_shuffled"]
    if not lost.is_known or math.isnan(lost.stderr):
        return ""
    quantile = float(stats.t.ppf(_LEVEL, len(found.images) - 1))
    text, size = "Decoded from another image's z, an image loses ", f"{lost.value:.2f} ± {lost.stderr:.2f} nats"
    if lost.value > quantile * lost.stderr:
        return f"{text}{size} of log p(x | z) (estimate)."
    text += f"nothing that was found ({size}, estimate): the decoder does not read z"
    return f"{text}, though the guide writes it." if state_of(found) is State.CARRIES else f"{text}."


def _aggregate(found: CollapseMeasures) -> str:
    marginal, total, single = (found[name] for name in ("marginal_kl", "total_correlation", "marginal_kl_per_latent"))
    if not marginal.is_known or state_of(found) is not State.CARRIES:
        return ""
    share = marginal.value / found["rate"].value
    text = f"KL(q(z) || p(z)) is {marginal.value:.2f} nats (estimate), {share:.0%} of the rate"
    if single.is_known:  # only where the prior factorizes is the total correlation a part of it
        text += f"; {total.value:.2f} of them are dependence between dimensions (total correlation)"
    return f"{text}."


def _with_claim(measure: Measure) -> str:
    error = "" if math.isnan(measure.stderr) else f" ± {measure.stderr:.2f}"
    return f"{measure.value:.2f}{error} ({measure.claim.words})".replace("-", "\N{MINUS SIGN}", 1)
