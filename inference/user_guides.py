"""Guides from a user's own file: ``--guide FILE_OR_MODULE:CLASS``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import ppl_models.guides
from ppl_models.errors import InvalidInput, nearest
from ppl_models.guides import GuideProgram


def find_guide(spec: str) -> type[GuideProgram]:
    """The guide class that a user names: ``my_guide.py:MyGuide``, ``package.module:MyGuide``, or a shipped guide's
    name.

    Raises:
        InvalidInput: if the file, module or class is missing, cannot be imported, or is no guide.
    """
    where, colon, name = spec.rpartition(":")
    if (colon and not (where and name)) or (not colon and spec.endswith(".py")):
        raise InvalidInput("--guide", spec, "does not name both a file and a class", "write FILE.py:CLASS")
    where = where if colon else "ppl_models.guides"
    module = _module(where, spec)
    classes = [n for n, value in vars(module).items() if isinstance(value, type) and issubclass(value, GuideProgram)]
    if name not in vars(module):
        remedy = nearest(name, classes) if classes else "write one: a subclass of ppl_models.guides.Guide"
        raise InvalidInput("--guide", spec, f"{where} has no class {name}", remedy)
    if name not in classes:
        raise InvalidInput(
            "--guide",
            spec,
            f"{name} is no guide",
            "subclass ppl_models.guides.Guide and write posterior(x)",
        )
    return getattr(module, name)


def source_of(guide_class: type[GuideProgram]) -> str:
    """``"shipped"`` for this project's guides, which a run can load by name; else the module it came from."""
    shipped = getattr(ppl_models.guides, guide_class.__name__, None) is guide_class
    return "shipped" if shipped else guide_class.__module__


@contextmanager
def blaming(guide: type[GuideProgram] | GuideProgram | None) -> Iterator[None]:
    """Inside, an error in a user's guide becomes one line that names the guide, the error and its place.

    Raises:
        InvalidInput: in place of the error. Errors in what this project ships pass as they are.
    """
    kind = guide if isinstance(guide, type) else type(guide)
    try:
        yield
    except InvalidInput:
        raise
    except Exception as error:
        if guide is None or source_of(kind) == "shipped":
            raise
        problem = f"fails with {described(error)}"
        raise InvalidInput("--guide", kind.__name__, problem, "mend it; see ppl_models/guides/base.py") from error


def described(error: Exception) -> str:
    """An error in one line: its type, its message, and the last line outside of installed packages that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_file()]
    frames = [f for f in frames if "site-packages" not in f.filename]
    if isinstance(error, ImportError | SyntaxError):  # these say where themselves
        frames = []
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}{place}"


def _module(where: str, spec: str) -> ModuleType:
    path = Path(where)
    if where.endswith(".py") and not path.is_file():
        raise InvalidInput("--guide", spec, f"there is no file {where}", "give FILE.py:CLASS or MODULE:CLASS")
    try:
        return _from_file(path) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:
        problem = f"cannot be imported: {described(error)}"
        raise InvalidInput("--guide", spec, problem, "mend the file, or name another") from error


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
