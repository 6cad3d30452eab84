"""What the scripts share: options by signature, and errors as one line with exit code 2."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from ppl_models.errors import InvalidInput, NotADensityError, nearest
from ppl_models.recipes import parameters_of

from .rehearsal import NonFiniteLossError
from .weights import NonFiniteError

Tokens = list[str]

# How a type is called in a message.
WORDS = {
    "int": "a whole number",
    "float": "a finite number",
    "bool": "true or false",
    "NoneType": "null",
    "str": "text",
    "Sequence": "a list such as [500]",
}


def run_script(main: Callable[[Sequence[str]], None]) -> None:
    """Run ``main(argv)``; wrong input prints one line that names argument, value and remedy, and exits with code 2."""
    try:
        main(sys.argv[1:])
    except (InvalidInput, NotADensityError, NonFiniteLossError, NonFiniteError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: a training can be continued from its last checkpoint with --resume", file=sys.stderr)
        sys.exit(130)


def parse(parser: ArgumentParser, argv: Sequence[str], prefix: str = "--") -> Namespace:
    """Parse, and turn the parser's complaints into ``InvalidInput``."""
    try:
        return parser.parse_args(list(argv))
    except ArgumentError as error:
        raise _one_line(" ".join(str(error).split()), parser, prefix) from error


def option_names(parser: ArgumentParser) -> list[str]:
    """The options a user may set, without the parser's own such as ``--print_shtab`` and ``--hidden+``."""
    names = [option for action in parser._actions for option in action.option_strings]
    return [n for n in names if n.startswith("--") and not n.startswith("--print_") and not n.endswith("+")]


def _one_line(text: str, parser: ArgumentParser, prefix: str) -> InvalidInput:
    """The parser's message as argument, value, problem and remedy."""
    remedy = "see --help"
    typed = re.match(r'Parser key "([^"]+)"(?: element \d+)?: (.*?)\.? (?:Got|Given) value: (.*)$', text)
    if typed:
        return InvalidInput(_called(typed.group(1), prefix), typed.group(3), _expected(typed.group(2)), remedy)
    unknown = re.match(r"unrecognized arguments: (\S+)(?: ([^-]\S*))?", text)
    if unknown:
        remedy = nearest(unknown.group(1), option_names(parser))
        return InvalidInput(unknown.group(1), unknown.group(2) or "", "is no option here", remedy)
    required = re.match(r"the following arguments are required: (.*)", text)
    if required:
        options = option_names(parser)
        names = [f"--{name}" if f"--{name}" in options else name for name in required.group(1).split(", ")]
        return InvalidInput(" ".join(_called(name, prefix) for name in names), "", "required and not given", remedy)
    argument = re.match(r"argument ([^\s/]+)\S*: (.*)", text)
    if argument:
        return InvalidInput(_called(argument.group(1), prefix), "", argument.group(2), remedy)
    return InvalidInput("arguments", "", text, remedy)


def _called(key: str, prefix: str) -> str:
    """What the user calls an option of the parser: ``--batch-size``, ``--recipe.latent_dim``, ``run``."""
    if prefix != "--":
        return prefix + key.removeprefix("--").replace("-", "_")
    return key if key in ("run", "study") else "--" + key.removeprefix("--").replace("_", "-")


def _expected(problem: str) -> str:
    """``Expected a <class 'int'>``, or several of these in a union, in plain words."""
    kinds = re.findall(r"Expected an? <class '(?:[\w.]*\.)?(\w+)'>", problem)
    if not kinds:
        return re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", problem).lower()
    return "must be " + " or ".join(dict.fromkeys(WORDS.get(kind, kind) for kind in kinds))


def take_prefixed(argv: Sequence[str], prefixes: Collection[str]) -> tuple[Tokens, dict[str, Tokens]]:
    """Split off options such as ``--recipe.hidden [500]``: the rest, and per prefix the tokens with ``--recipe.`` cut
    to ``--``."""
    rest: Tokens = []
    taken: dict[str, Tokens] = {prefix: [] for prefix in prefixes}
    target = rest
    for token in argv:
        if token.startswith("--"):
            prefix, dot, name = token[2:].partition(".")
            ours = bool(dot) and prefix in taken and "=" not in prefix
            target = taken[prefix] if ours else rest
            token = f"--{name}" if ours else token
        target.append(token)
    return rest, taken


def parse_options(target: Callable[..., Any], tokens: Tokens, prefix: str, skip: Collection[str]) -> dict[str, Any]:
    """Options of a function or class by its signature, defaults included.

    Args:
        target: the function or class.
        tokens: ``--name value ...``.
        prefix: what the user calls them, for example ``recipe``.
        skip: parameters that are not for the user to set.

    Raises:
        InvalidInput: for an unknown option (with the nearest), a value of the wrong type, or a parameter that has no
            default and was not given.
    """
    parser = ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False)
    add = parser.add_class_arguments if isinstance(target, type) else parser.add_function_arguments
    add(target, skip=set(skip), fail_untyped=False)
    own, owner = parameters_of(target), getattr(target, "__name__", prefix)
    known = [name[2:] for name in option_names(parser) if name[2:] in own]
    for token, following in zip(tokens, (*tokens, "")[1:], strict=True):
        name, _, value = token[2:].partition("=")
        if token.startswith("--") and name.removesuffix("+") not in known:
            value = value or ("" if following.startswith("--") else following)
            raise InvalidInput(f"--{prefix}.{name}", value, f"{owner} has no such option", nearest(name, known))
    options = parse(parser, tokens, f"--{prefix}.").as_dict()
    for name in known:
        if own[name].default is inspect.Parameter.empty and options[name] is None:
            raise InvalidInput(f"--{prefix}.{name}", "", f"{owner} has no default for it", "give it a value")
    return {name: list(options[name]) if isinstance(options[name], tuple) else options[name] for name in known}
