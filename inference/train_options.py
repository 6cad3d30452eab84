"""The options of ``inference.train`` and the jobs they describe."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from ppl_models.errors import InvalidInput
from ppl_models.recipes import FROM_DATA, GIVEN_TO_GUIDES, find_recipe, parameters_of

from .cli import Tokens, parse, parse_options, take_prefixed
from .data import load_data
from .jobs import Job
from .objectives import OBJECTIVES, find_objective
from .orderings import with_ordering
from .steps import STEPS, find_step
from .training import OWN_OBJECTIVE, Training, default_training
from .user_guides import find_guide


def parser(description: str | None = None) -> ArgumentParser:
    """The options of the script."""
    p = ArgumentParser(
        prog="python -m inference.train", exit_on_error=False, allow_abbrev=False, description=description
    )
    p.add_argument(
        "--recipe",
        required=True,
        help="name of a (program, guide) pair; --recipe.NAME VALUE sets its options",
    )
    p.add_argument("--data", default="digits", help="a data set's name or an .npz file")
    p.add_argument(
        "--data-dir",
        type=str | None,
        default=None,
        help="where larger data sets lie; else $PPL_DATA",
    )
    p.add_argument("--out", required=True, help="the run folder")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--seeds", type=int, nargs="+", default=None, help="several runs, in OUT/seed-S")
    p.add_argument(
        "--guide",
        default=None,
        help="FILE_OR_MODULE:CLASS or a shipped guide; --guide.NAME VALUE sets its options",
    )
    p.add_argument(
        "--objective",
        default=None,
        help=f"{', '.join(OBJECTIVES)}; --objective.NAME VALUE sets its options",
    )
    # Settings of the training have no default here: those left out are the ones for the size of the data.
    p.add_argument("--epochs", type=int, default=SUPPRESS, help="passes over the training images")
    p.add_argument("--batch-size", type=int, default=SUPPRESS, help="images per update")
    p.add_argument("--learning-rate", type=float, default=SUPPRESS)
    p.add_argument("--weight-decay", type=float, default=SUPPRESS)
    p.add_argument("--schedule", type=str, default=SUPPRESS, help="of the learning rate: linear or constant")
    p.add_argument(
        "--average",
        type=float,
        default=SUPPRESS,
        help="decay of the weights' moving average; 0 for none",
    )
    p.add_argument(
        "--patience",
        type=int | None,
        default=SUPPRESS,
        help="epochs without improvement on validation, or null",
    )
    p.add_argument("--clip-norm", type=float | None, default=SUPPRESS, help="largest norm of the gradient")
    p.add_argument(
        "--max-seconds",
        type=float | None,
        default=SUPPRESS,
        help="start no epoch after so many seconds",
    )
    p.add_argument("--precision", type=str, default=SUPPRESS, help="32-true or bf16-mixed")
    p.add_argument(
        "--step",
        type=str,
        default=SUPPRESS,
        help="plain, or aggressive: the guide ahead of the program; --step.NAME VALUE sets its options",
    )
    p.add_argument("--device", default="auto", help="auto, cpu or cuda")
    p.add_argument("--resume", action="store_true", help="continue the run in --out")
    p.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    p.add_argument("--track", action="store_true", help="log to TensorBoard in --out/tensorboard")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    return p


def jobs(argv: Sequence[str], description: str | None = None) -> tuple[list[Job], Any]:
    """The jobs that the command line asks for, and its other options.

    Raises:
        InvalidInput: for an unknown name or option, or a value of the wrong type.
    """
    rest, prefixed = take_prefixed(argv, ("recipe", "guide", "objective", "step"))
    options = parse(parser(description), rest)
    if options.resume and options.overwrite:
        raise InvalidInput("--resume", "--overwrite", "continuing and replacing exclude each other", "give one of them")
    recipe_arguments = parse_options(find_recipe(options.recipe), prefixed["recipe"], "recipe", FROM_DATA)
    guide, guide_arguments = named("guide", options.guide, find_guide, prefixed["guide"], GIVEN_TO_GUIDES)
    objective, objective_arguments = objective_options(options.recipe, options.objective, prefixed["objective"])
    given = options.as_dict()
    _, step_arguments = named("step", given.get("step"), find_step, prefixed["step"], (), STEPS)
    data = load_data(options.data, Path(options.data_dir) if options.data_dir else None)
    training = replace(
        default_training(options.recipe, data.sizes["train"]),
        **{f.name: given[f.name] for f in fields(Training) if f.name in given},
        **({"step_arguments": step_arguments} if "step" in given else {}),
    )
    out = Path(options.out)
    training.check()  # before the search for an ordering, which can take its time
    recipe_arguments, ordering_source = with_ordering(recipe_arguments, data)
    job = Job(
        options.recipe, data, out, options.seed, recipe_arguments, guide, guide_arguments,
        objective, objective_arguments, training, options.device, ordering_source,
    )  # fmt: skip
    return of_seeds(job, options.seeds) if options.seeds else [job], options


def objective_options(recipe: str, name: str | None, tokens: Tokens) -> tuple[str | None, dict[str, Any]]:
    """The objective that is named, or whose options are given, with those that are.

    A recipe with an objective of its own keeps the options it has for it where others are not given, and needs no
    ``--objective`` to be given some.

    Raises:
        InvalidInput: for options of an objective that is not named where the recipe has none of its own.
    """
    own, _ = OWN_OBJECTIVE.get(recipe, (None, {}))
    name = name or (own if tokens else None)
    _, arguments = named("objective", name, find_objective, tokens, ("program", "guide"), OBJECTIVES)
    given = {token[2:].partition("=")[0].removesuffix("+") for token in tokens if token.startswith("--")}
    return name, {option: value for option, value in arguments.items() if option in given}


def named(
    argument: str,
    name: str | None,
    find: Callable[[str], Any],
    tokens: Tokens,
    skip: Sequence[str],
    known: Mapping[str, Callable[..., Any]] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """What ``--argument NAME`` names, and its options ``--argument.OPTION VALUE``; ``(None, {})`` where none is named.

    Args:
        argument: what is named.
        name, tokens: as the user gave them.
        find: finds it by name.
        skip: parameters that are not for the user to set.
        known: what can be named, for the remedy where nothing is.

    Raises:
        InvalidInput: for options of what is not named, with the names of those that have them.
    """
    if name:
        found = find(name)
        return found, parse_options(found, tokens, argument, skip)
    if tokens:
        option = tokens[0][2:].partition("=")[0]
        owners = [other for other, kind in (known or {}).items() if option in parameters_of(kind)]
        remedy = f"add --{argument} {' or '.join(owners) or 'NAME'}"
        raise InvalidInput(f"--{argument}.{option}", " ".join(tokens[1:2]), f"no {argument} is named", remedy)
    return None, {}


def of_seeds(job: Job, seeds: Sequence[int]) -> list[Job]:
    """The same job with each seed, in ``OUT/seed-S``.

    Raises:
        InvalidInput: for a seed that is named twice, or an output folder that is a run itself.
    """
    if len(set(seeds)) < len(seeds):
        raise InvalidInput("--seeds", " ".join(map(str, seeds)), "names a seed twice", "name each once")
    if (job.out / "config.json").exists():
        raise InvalidInput("--out", str(job.out), "is a run, and runs do not lie in runs", "name another folder")
    return [job.with_seed(seed, job.out / f"seed-{seed}") for seed in seeds]
