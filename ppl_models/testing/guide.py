"""The checks of a guide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..errors import InvalidInput
from ..guides import GuideProgram
from ..program import GenerativeProgram
from . import building
from . import guide_checks as own
from . import guide_training as training
from .report import Report, Step, run_steps, sandbox

PAIRING, SITES, SHAPES, SUPPORT, FINITE = "pairing", "latent sites", "shapes", "support", "finite numbers"
BUILD = "let __init__ take (data_dim, latent_dim) and give every further argument a default"
MEND = "mend it; see ppl_models/guides/base.py for what a guide must be"
ALL = (SITES, SHAPES, SUPPORT, FINITE)


def _step(name: str, function: Callable, needs: Sequence[str] = ALL, remedy: str = MEND) -> Step:
    return Step(name, function, remedy, tuple(needs))


STEPS = (
    _step(PAIRING, own.check_pairing, ()),
    _step(SITES, own.check_sites, (PAIRING,)),
    _step(SHAPES, own.check_shapes, (SITES,)),
    _step(SUPPORT, own.check_support, (SITES, SHAPES)),
    _step(FINITE, own.check_finite, (SITES, SHAPES)),
    _step("leading dimensions", own.check_leading, (SITES, SHAPES), "let sample, log_prob and expand keep them"),
    _step("draws fit log_prob", own.check_samples),
    _step("gradients", training.check_gradients),
    _step("reparameterization", training.check_reparameterized),
    _step("images in any order", own.check_permutation),
    _step("images on their own", own.check_alone),
    _step("saved state", training.check_state, remedy=BUILD),
    _step("deep copy", training.check_copy),
    _step("float64", training.check_double, remedy="make constants from inputs or buffers, not of the default dtype"),
    _step("one seed, one draw", training.check_seed),
    _step("parameter store", training.check_store),
    _step("program kept apart", training.check_apart),
    _step("bound below exact evidence", training.check_bound, remedy=BUILD),
    _step("exact where it can be", training.check_expresses, remedy=BUILD),
)


def check_guide(
    guide: GuideProgram,
    program: GenerativeProgram,
    x: Tensor,
    *,
    options: building.Options | None = None,
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Report:
    """Check a guide against its program. Neither is changed.

    Args:
        guide: the guide, untrained or trained.
        program: what it is a guide for.
        x: images (N, D) in the program's sample space; five of them are used.
        options: what the guide was built with besides ``(data_dim, latent_dim)``: other instances are built from its
            class. Unless given they are read off the attributes of those names.
        shape: (C, H, W) of the images, for classes that ask for it; the program's, a square, or a row unless given.
        seed: of all noise. A sound guide fails by chance once in about a thousand seeds.

    Returns:
        The report, if no check failed.

    Raises:
        ConformanceError: if one did, with a sentence for each.
        InvalidInput: for what is no guide, no program, or images outside the program's sample space.
    """
    return report_on_guide(guide, program, x, options=options, shape=shape, seed=seed).or_raise()


def report_on_guide(
    guide: GuideProgram,
    program: GenerativeProgram,
    x: Tensor,
    *,
    options: building.Options | None = None,
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Report:
    """As ``check_guide``, but a report whatever it says."""
    if not isinstance(guide, GuideProgram):
        remedy = "subclass ppl_models.guides.Guide and write posterior(x)"
        raise InvalidInput("guide", type(guide).__name__, "is no guide", remedy)
    if not isinstance(program, GenerativeProgram):
        raise InvalidInput("program", type(program).__name__, "is no program", "give a GenerativeProgram")
    program.check(x)
    title = f"{type(guide).__name__} for {type(program).__name__}"
    data = building.data_of(guide, program, shape)
    with building.lent(guide, program), sandbox(seed, x.device):
        (guide, program), error = building.copied_or_same((guide, program))
        images = building.some_images(x, program)
        subject = own.GuideSubject(guide, program, x=images, options=options, data=data, error=error)
        return run_steps(STEPS, subject, title, seed, x.device)
