"""Guides from a user's own file: ``--guide FILE_OR_MODULE:CLASS``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ppl_models.guides
import ppl_models.user_files
from ppl_models.guides import GuideProgram
from ppl_models.user_files import GUIDE, described, find_class

__all__ = ["blaming", "described", "find_guide", "source_of"]


def find_guide(spec: str) -> type[GuideProgram]:
    """The guide class that a user names: ``my_guide.py:MyGuide``, ``package.module:MyGuide``, or a shipped guide's
    name.

    Raises:
        InvalidInput: if the file, module or class is missing, cannot be imported, or is no guide.
    """
    return find_class(spec, [GUIDE], "--guide")


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
    if guide is None or source_of(kind) == "shipped":
        yield
        return
    with ppl_models.user_files.blaming("--guide", kind.__name__, "mend it; see ppl_models/guides/base.py"):
        yield
