"""Classes from a user's own file: ``FILE_OR_MODULE:CLASS``, or a shipped class by its name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .errors import InvalidInput, nearest
from .guides import GuideProgram
from .priors import Prior
from .program import GenerativeProgram


@dataclass(frozen=True)
class Kind:
    """What a user may write in a file of their own.

    Args:
        noun: what it is called.
        base: what its class derives from.
        parent: what a user is told to subclass.
        method: what a user is told to write.
        shipped: the module that exports this project's own.
    """

    noun: str
    base: type
    parent: str
    method: str
    shipped: str


GUIDE = Kind("guide", GuideProgram, "ppl_models.guides.Guide", "posterior(x)", "ppl_models.guides")
PROGRAM = Kind(
    "program",
    GenerativeProgram,
    "ppl_models.LatentProgram or ppl_models.TractableProgram",
    "prior() and likelihood(z), or distribution()",
    "ppl_models.programs",
)
PRIOR = Kind("prior", Prior, "ppl_models.priors.Prior", "forward()", "ppl_models.priors")


def find_class(spec: str, kinds: Sequence[Kind], argument: str) -> type:
    """The class that a user names: ``my_guide.py:MyGuide``, ``package.module:MyGuide``, or the name of a shipped one.

    Args:
        spec: what the user wrote.
        kinds: what it may be.
        argument: what the user calls it, for the message.

    Raises:
        InvalidInput: if the file, module or class is missing, cannot be imported, or is of no such kind.
    """
    where, colon, name = spec.rpartition(":")
    if (colon and not (where and name)) or (not colon and spec.endswith(".py")):
        raise InvalidInput(argument, spec, "does not name both a file and a class", "write FILE.py:CLASS")
    shipped = [kind.shipped for kind in kinds]
    modules = [_module(place, spec, argument) for place in ([where] if colon else shipped)]
    found = {n: value for module in reversed(modules) for n, value in vars(module).items()}
    bases = tuple(kind.base for kind in kinds)
    classes = [n for n, value in found.items() if isinstance(value, type) and issubclass(value, bases)]
    parents = " or ".join(kind.parent for kind in kinds)
    if name not in found:
        place = where if colon else " or ".join(shipped)
        remedy = nearest(name, classes) if classes else f"write one: a subclass of {parents}"
        raise InvalidInput(argument, spec, f"{place} has no class {name}", remedy)
    if name not in classes:
        problem = f"{name} is no {' or '.join(kind.noun for kind in kinds)}"
        method = f" and write {kinds[0].method}" if len(kinds) == 1 else ""
        raise InvalidInput(argument, spec, problem, f"subclass {parents}{method}")
    return found[name]


@contextmanager
def blaming(argument: str, name: str, remedy: str) -> Iterator[None]:
    """Inside, an error in a user's class becomes one line that names the class, the error and its place.

    Raises:
        InvalidInput: in place of the error.
    """
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        raise InvalidInput(argument, name, f"fails with {described(error)}", remedy) from error


def described(error: Exception) -> str:
    """An error in one line: its type, its message, and the last line outside of installed packages that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_file()]
    frames = [f for f in frames if "site-packages" not in f.filename]
    if isinstance(error, ImportError | SyntaxError):  # these say where themselves
        frames = []
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}{place}"


def _module(where: str, spec: str, argument: str) -> ModuleType:
    path = Path(where)
    if where.endswith(".py") and not path.is_file():
        raise InvalidInput(argument, spec, f"there is no file {where}", "give FILE.py:CLASS or MODULE:CLASS")
    try:
        return _from_file(path) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:
        problem = f"cannot be imported: {described(error)}"
        raise InvalidInput(argument, spec, problem, "mend the file, or name another") from error


def _from_file(path: Path) -> ModuleType:
    """Import a file under its stem. It is registered, so that dataclasses and typing find its classes again, unless
    another module has that name or the import fails."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    registered = sys.modules.setdefault(path.stem, module) is module
    try:
        spec.loader.exec_module(module)
    except Exception:
        if registered:
            del sys.modules[path.stem]
        raise
    return module
