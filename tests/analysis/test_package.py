"""The wall: analysis reads files, imports neither torch nor Pyro, and changes nothing when imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import analysis

PACKAGE = Path(analysis.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(file: Path) -> set[str]:
    names = set()
    for entry in ast.walk(ast.parse(file.read_text())):
        if isinstance(entry, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in entry.names}
        elif isinstance(entry, ast.ImportFrom):
            names.add((entry.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_imports_and_length(file: Path) -> None:
    names = imported(file)
    assert not names & {"torch", "pyro", "ppl_models", "inference", "pandas", "seaborn"}
    assert not any(name.startswith("arviz") for name in names) or file.parent.name == "arviz_compat"
    assert len(file.read_text().splitlines()) <= 250


def test_every_public_name_exists() -> None:
    for name in analysis.__all__:
        found = getattr(analysis, name)  # import_evidence: a function, or the module of that name, which can be called
        assert found.__name__.rpartition(".")[2] == name
        assert callable(found)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analysis.nothing  # noqa: B018


def test_importing_changes_nothing_and_is_light() -> None:
    code = """
import sys, warnings
before = set(sys.modules)
import analysis
assert not {"arviz", "matplotlib", "xarray", "numpy", "scipy"} & (set(sys.modules) - before)
import h5netcdf, jinja2, matplotlib.figure, scipy.stats, xarray  # what they change is theirs
params, filters = matplotlib.rcParams.copy(), list(warnings.filters)
import analysis.report
assert "matplotlib.pyplot" not in sys.modules
assert "arviz" not in sys.modules
assert "torch" not in sys.modules
assert matplotlib.rcParams.copy() == params
assert warnings.filters == filters
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
