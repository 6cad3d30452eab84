"""The cures for posterior collapse on one strong decoder, under one budget: members of the study ``collapse``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppl_models.errors import InvalidInput

from ..data import load_data
from ..estimators import AnnealingOptions
from ..probe import write_probe
from ..run import load_run, write_json
from .cure_checks import (
    CureCheck,
    batch_norm_floor,
    bits_are_released,
    committed_rate,
    free_bits_hold,
    refinement_gains,
    warmed_up,
)
from .members import Member, Plan

CURE = "cure.json"

# A Gated PixelCNN whose first layer sees 7 x 7 pixels of 8 x 8 images, and a deep net that tells it the code.
DECODER = {"depth": 1, "first_kernel": 7, "channels": 16, "dropout": 0.0}
WIDTHS = (64, 64, 64)
STRONG = {**DECODER, "hidden": WIDTHS, "context": 4}
# The budget of every member: passes over the images, and no early end.
BUDGET = {"epochs": 40, "learning_rate": 5e-3, "patience": None}

QUICK, FULL = ("iw:200",), ("elbo:64", "iw:1000")
# Of one strength of each cure: an annealed path decodes every image at each of its leapfrog steps.
SANDWICH = "bdmc:100"
ANNEALING = AnnealingOptions(chains=8, leapfrog=5, simulated=20)


@dataclass(frozen=True)
class Cure:
    """A member of the study, and what the report says of it.

    Args:
        member: what is trained.
        what: the cure, in words; members of one cure differ by its strength.
        setting: its strength, in words.
        check: what it promises of its own run; ``None`` where the promise is more information than without it.
        purpose: ``"cure"``, ``"plain"`` (no cure), ``"decoder"`` (no latents) or ``"proposed"``.
        quick: whether the quick budget has it too.
    """

    member: Member
    what: str
    setting: str
    check: CureCheck | None = None
    purpose: str = "cure"
    quick: bool = True


def cure(
    name: str,
    what: str,
    setting: str,
    check: CureCheck | None = None,
    *,
    recipe: dict[str, Any] | None = None,
    guide: str | None = None,
    guide_arguments: dict[str, Any] | None = None,
    objective: str | None = None,
    options: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    **own: Any,
) -> Cure:
    """One cure of the pair with the strong decoder, all else alike."""
    given = {"hidden": WIDTHS, **(guide_arguments or {})} if guide else {}
    member = Member(
        name, "pixel_vae", QUICK, samples=0, recipe_arguments={**STRONG, **(recipe or {})}, guide=guide,
        guide_arguments=given, objective=objective, objective_arguments=options or {},
        training={**BUDGET, **(training or {})},
    )  # fmt: skip
    return Cure(member, what, setting, check, **own)


PLAIN = cure("plain", "no cure", "the negative ELBO", purpose="plain")
ALONE = Cure(
    Member("decoder", "gated_pixel_cnn", ("exact",), role="baseline", samples=0, recipe_arguments=DECODER,
           training=BUDGET),
    "the decoder alone", "no latents", purpose="decoder",
)  # fmt: skip

# Strengths were chosen on validation images; what else was tried is in docs/settings.md.
CURES: tuple[Cure, ...] = (
    ALONE,
    PLAIN,
    cure(
        "released_skip", "released free bits and skip connections", "8 nats, held for 600 updates, released over 300",
        bits_are_released, recipe={"decoder": "skip"}, objective="released",
        options={"free_bits": 8.0, "hold": 600, "release": 300},
    ),
    cure(
        "released", "released free bits", "8 nats, held for 700 updates, released over 300", bits_are_released,
        objective="released", options={"free_bits": 8.0, "hold": 700, "release": 300}, purpose="proposed",
    ),
    cure("free_bits", "free bits", "4 nats for the whole code", free_bits_hold, objective="elbo",
         options={"free_bits": 4.0}),
    cure("batch_norm", "batch-normalized mean", "gamma 0.7", batch_norm_floor, guide="BatchNormMean",
         guide_arguments={"gamma": 0.7}),
    cure("skip", "skip connections", "z enters every layer of the net that makes contexts", recipe={"decoder": "skip"}),
    cure("skip_warm_up", "skip connections and linear warm-up", "700 updates", warmed_up, recipe={"decoder": "skip"},
         objective="elbo", options={"schedule": "linear", "updates": 700}),
    cure("warm_up", "linear warm-up", "700 updates", warmed_up, objective="elbo",
         options={"schedule": "linear", "updates": 700}),
    cure("cyclical", "cyclical warm-up", "4 cycles in 800 updates", warmed_up, objective="elbo",
         options={"schedule": "cyclical", "updates": 800}),
    cure("committed", "committed rate (delta-VAE)", "0.2 nats per latent", committed_rate, guide="DeltaNormal",
         guide_arguments={"rate": 0.2}),
    cure("info_vae", "InfoVAE with MMD", "alpha 0.9, weight 10", objective="mmd",
         options={"alpha": 0.9, "weight": 10.0}),
    cure("weaker", "weaker decoder", "sees the 3 x 3 pixels around a place, of those before it",
         recipe={"first_kernel": 3}),
    cure("aggressive", "aggressive encoder", "windows of 10, at most 100 steps of the guide",
         training={"step": "aggressive"}),
    cure("vamp_prior", "VampPrior", "50 pseudo-inputs, warm-up of 400 updates after 200", warmed_up,
         recipe={"prior": "vamp:50"}, objective="elbo", options={"schedule": "linear", "updates": 400, "delay": 200}),
    cure("flow_prior", "flow prior", "2 flows", recipe={"prior": "flow:2"}),
    cure("importance", "importance-weighted objective", "5 particles", objective="iwae", options={"num_particles": 5}),
    cure("semi_amortized", "semi-amortized guide", "2 steps of 4 draws", refinement_gains, guide="SemiAmortized",
         guide_arguments={"steps": 2, "num_draws": 4}),
    # Other strengths: the curve of each cure, in the full budget.
    *(cure(f"free_bits_{nats:g}", "free bits", f"{nats:g} nats for the whole code", free_bits_hold, objective="elbo",
           options={"free_bits": nats}, quick=False) for nats in (1.0, 2.0, 8.0)),
    cure("free_bits_dims", "free bits", "0.25 nats per latent", free_bits_hold, objective="elbo",
         options={"free_bits": 0.25, "free_bits_per": "dim"}, quick=False),
    *(cure(f"batch_norm_{gamma:g}", "batch-normalized mean", f"gamma {gamma:g}", batch_norm_floor,
           guide="BatchNormMean", guide_arguments={"gamma": gamma}, quick=False) for gamma in (0.3, 0.5)),
    *(cure(f"committed_{rate:g}", "committed rate (delta-VAE)", f"{rate:g} nats per latent", committed_rate,
           guide="DeltaNormal", guide_arguments={"rate": rate}, quick=False) for rate in (0.05, 0.1)),
    cure("skip_free_bits", "skip connections and free bits", "4 nats for the whole code", free_bits_hold,
         recipe={"decoder": "skip"}, objective="elbo", options={"free_bits": 4.0}, quick=False),
    cure("plain_long", "no cure", "three times the updates", training={"epochs": 120}, purpose="plain", quick=False),
)  # fmt: skip

MEMBERS: tuple[Member, ...] = tuple(each.member for each in CURES)


def members(budget: str) -> tuple[Member, ...]:
    """Who takes part: one strength of each cure and the importance-weighted bound alone in the quick budget; in the
    full one every strength, the ELBO and more particles, and the sandwich of what the quick one has."""
    if budget == "quick":
        return tuple(each.member for each in CURES if each.quick)
    return tuple(each.member if each is ALONE else in_full(each) for each in CURES)


def in_full(each: Cure) -> Member:
    """A member with latents as the full budget scores it."""
    bounds = (*FULL, SANDWICH) if each.quick else FULL
    return replace(each.member, estimators=bounds, evaluation={"annealing": ANNEALING})


def find_cure(name: str) -> Cure:
    """The cure whose member has that name.

    Raises:
        InvalidInput: where there is none.
    """
    for each in CURES:
        if each.member.name == name:
            return each
    raise InvalidInput("member", name, "is no cure", f"use {', '.join(member.name for member in MEMBERS)}")


def after_run(plan: Plan, member: Member, seed: int, folder: Path) -> None:
    """Write ``cure.json``, what the cure is and whether it did what it is for, and ``probe.json`` into a run's
    folder."""
    chosen, run, data = find_cure(member.name), load_run(folder), load_data(plan.data, plan.data_dir)
    if run.guide is not None:
        write_probe(run, data)
    check = None if chosen.check is None else chosen.check(run, data).as_json()
    write_json(folder / CURE, {
        "format": 1, "cure": chosen.what, "setting": chosen.setting, "purpose": chosen.purpose, "check": check,
    })  # fmt: skip
