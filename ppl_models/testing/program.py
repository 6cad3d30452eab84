"""The checks of a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..guides import GuideProgram
from ..program import GenerativeProgram
from . import building
from . import program_checks as own
from . import program_masses as masses
from . import program_training as training
from .report import Report, Step, run_steps, sandbox

CALL, GENERATION, FINITE = "latent sites", "generation", "finite numbers"
ALL = (CALL, GENERATION, FINITE)
BUILD = "let __init__ take data_dim and give every further argument a default"
MEND = "mend it; see ppl_models/program.py for what a program must be"


def _step(name: str, function: Callable, needs: Sequence[str] = ALL, remedy: str = MEND) -> Step:
    return Step(name, function, remedy, tuple(needs))


STEPS = (
    _step(CALL, own.check_call, ()),
    _step(GENERATION, own.check_generation, (CALL,)),
    _step("bad images", own.check_sample_space, ()),
    _step(FINITE, own.check_numbers, (CALL,)),
    _step("parts and call agree", own.check_parts),
    _step("leading dimensions", own.check_likelihood),
    _step("images in any order", own.check_permutation),
    _step("Pyro's condition", own.check_handlers),
    _step("total mass", masses.check_sum, remedy=BUILD),
    _step("draws fit log_prob", masses.check_draws),
    _step("exact log p(x)", masses.check_evidence),
    _step("gradients", training.check_gradients),
    _step("saved state", training.check_state, remedy=BUILD),
    _step("deep copy", training.check_copy),
    _step("float64", training.check_double, remedy="make constants from inputs or buffers, not of the default dtype"),
    _step("one seed, one draw", training.check_seed),
    _step("parameter store", training.check_store),
)


def check_program(
    program: GenerativeProgram,
    x: Tensor | None = None,
    *,
    guide: GuideProgram | None = None,
    options: building.Options | None = None,
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Report:
    """Check a program; it is not changed.

    Args:
        program: the program.
        x: images (N, D) of its sample space; its own draws unless given.
        guide: what it is paired with, where its prior is made from the guide (``VampPrior``).
        options: what it was built with besides ``data_dim``: other instances are built from its class. Unless given
            they are read off the attributes of those names.
        shape: (C, H, W), for classes that ask for it; the program's, a square, or a row unless given.
        seed: of all noise. A sound program fails by chance once in about a thousand seeds.

    Returns:
        The report, if no check failed.

    Raises:
        ConformanceError: if one did, with a sentence for each.
        InvalidInput: for what is no program, or images outside its sample space.
    """
    return report_on_program(program, x, guide=guide, options=options, shape=shape, seed=seed).or_raise()


def report_on_program(
    program: GenerativeProgram,
    x: Tensor | None = None,
    *,
    guide: GuideProgram | None = None,
    options: building.Options | None = None,
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Report:
    """As ``check_program``, but a report whatever it says; refused are draws that the program itself would refuse."""
    if not isinstance(program, GenerativeProgram):
        raise InvalidInput("program", type(program).__name__, "is no program", "subclass GenerativeProgram")
    data = building.data_of(program, program, shape)
    lent = (program,) if guide is None else (program, guide)
    with building.lent(*lent), sandbox(seed, "cpu" if x is None else x.device):
        if guide is not None:
            guide.bind(program)
        (program, guide), error = building.copied_or_same((program, guide))
        if x is None:
            x = generated(program)
        program.check(x)
        images = building.some_images(x, program)
        subject = own.ProgramSubject(program, guide, x=images, options=options, data=data, error=error)
        return run_steps(STEPS, subject, type(program).__name__, seed, x.device)


def generated(program: GenerativeProgram) -> Tensor:
    """Forty images of its own.

    Raises:
        InvalidInput: if they lie outside its sample space.
    """
    with torch.no_grad():
        x = program(size=40)
    try:
        program.check(x)
    except InvalidInput as error:
        problem = f"it generates what it would refuse ({error.argument} {error.value}: {error.problem})"
        remedy = 'set measure = "density" on the class if pixels are real numbers, else correct its draws or levels'
        raise InvalidInput("program", type(program).__name__, problem, remedy) from error
    return x
