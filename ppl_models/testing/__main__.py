"""python -m ppl_models.testing my_guide.py:MyGuide prints the kit's checks with marks.

Exit code 0 if none failed, 1 if one did, 2 for wrong input.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..autoencoder import Autoencoder
from ..errors import InvalidInput
from ..guides import GuideProgram
from ..nets import evaluating
from ..program import GenerativeProgram
from ..programs import VAE, AutoencoderDensity, DiscreteVAE, LadderVAE
from ..recipes import build_guide, check_options, filled
from ..user_files import GUIDE, PROGRAM, blaming, find_class
from .guide import report_on_guide
from .program import report_on_program
from .report import Report
from .traces import trace_of

# Small enough that every image can be enumerated, and two latents that every integral can be taken.
SHAPE, LATENTS = (1, 3, 3), 2
DATA = {"data_dim": 9, "levels": 2, "shape": SHAPE}
# What a guide may be for, in the order in which it is tried.
PROGRAMS: tuple[Callable[[], GenerativeProgram], ...] = (
    lambda: VAE(9, LATENTS, (16,)),
    lambda: DiscreteVAE(9, LATENTS, (16,)),
    lambda: DiscreteVAE(9, LATENTS, (16,), code="one-hot"),
    lambda: LadderVAE(9, (LATENTS, 1), (16, 8)),
    lambda: AutoencoderDensity(Autoencoder(9, LATENTS, (16,))),
)
# What programs are made of that have no default for it.
PARTS: dict[type[GenerativeProgram], Callable[[], dict[str, Any]]] = {
    AutoencoderDensity: lambda: {"autoencoder": Autoencoder(9, LATENTS, (16,))},
}


def options_in(tokens: Sequence[str]) -> dict[str, Any]:
    """``--guide.NAME VALUE`` and ``--program.NAME VALUE`` as options.

    Raises:
        InvalidInput: for anything else.
    """
    options = {}
    for name, value in zip(tokens[::2], [*tokens[1::2], None][: len(tokens[::2])], strict=True):
        head, dot, option = name.removeprefix("--").partition(".")
        if head not in ("guide", "program") or not dot or value is None:
            raise InvalidInput(name, value, "is no option of the kit", "write --guide.NAME VALUE")
        try:
            options[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[option] = value  # a word
    return options


def suits(guide: GuideProgram, program: GenerativeProgram) -> bool:
    """Whether the guide draws the program's latents, each of its prior's kind."""
    x = torch.zeros(2, program.data_dim)
    with torch.no_grad(), evaluating(guide), evaluating(program):  # statistics of a batch must not move by the question
        guides, priors = trace_of(guide, x), trace_of(program, x)
    if set(guides.stochastic_nodes) != set(program.latents):
        return False
    pairs = [(guides.nodes[name], priors.nodes[name]["fn"].support) for name in program.latents]
    same = [site["fn"].support.is_discrete == support.is_discrete for site, support in pairs]
    return all(same) and all(bool(support.check(site["value"]).all()) for site, support in pairs)


def paired(kind: type[GuideProgram], options: dict[str, Any]) -> tuple[GuideProgram, GenerativeProgram]:
    """The guide, and the first program that it suits; a VAE where there is none, so that the checks say why."""
    for make in PROGRAMS:
        program = make()
        try:
            guide = build_guide(kind, program.latent_dim, DATA, options)
            guide.bind(program)
            if suits(guide, program):
                return guide, program
        except Exception:  # noqa: BLE001  whatever goes wrong here, it is another program's guide
            continue
    program = PROGRAMS[0]()
    with blaming("guide", kind.__name__, "let __init__ take (data_dim, latent_dim), the rest with defaults"):
        return build_guide(kind, program.latent_dim, DATA, options), program


def report_on(spec: str, options: dict[str, Any]) -> Report:
    """The report on the class that a user names.

    Raises:
        InvalidInput: for a missing file or class, a class that is neither guide nor program, or an unknown option.
    """
    kind = find_class(spec, [GUIDE, PROGRAM], "class")
    if issubclass(kind, GuideProgram):
        guide, program = paired(kind, options)
        with torch.no_grad():
            x = program(size=40)
        return report_on_guide(guide, program, x, options=options or None, shape=SHAPE)
    options = {**PARTS.get(kind, dict)(), **options}
    check_options("program", kind.__name__, kind, options, ("data_dim", "levels", "shape"))
    with blaming("program", kind.__name__, "let __init__ take data_dim, the rest with defaults"):
        program = kind(**filled(kind, DATA), **options)
    with blaming("program", kind.__name__, "mend it; see ppl_models/program.py"):
        return report_on_program(program, options=options or None, shape=SHAPE)


def main(argv: Sequence[str]) -> int:
    """Print the list of checks; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ppl_models.testing", description=__doc__)
    parser.add_argument("spec", metavar="FILE_OR_MODULE:CLASS", help="a guide or a program, or a shipped one by name")
    parser.epilog = "--guide.NAME VALUE and --program.NAME VALUE set options"
    given, tokens = parser.parse_known_args(list(argv))
    try:
        report = report_on(given.spec, options_in(tokens))
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    print(report.text(plain))
    return 0 if report.ok else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
