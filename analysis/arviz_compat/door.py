"""ArviZ itself, imported when first needed: it sets colour maps and styles, and a report without latents needs none."""

from __future__ import annotations

import warnings
from types import ModuleType


def load_arviz() -> ModuleType:
    """ArviZ, without the notice on its own future that 0.23 prints once a day."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        import arviz
    return arviz


def is_legacy(arviz: ModuleType) -> bool:
    """Whether it is 0.23 and not 1.x."""
    return arviz.__version__.startswith("0.")


def arviz_version() -> str:
    """The version in use, for the provenance of a report."""
    return str(load_arviz().__version__)
