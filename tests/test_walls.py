"""The walls between the packages: they hold, and they catch what they are meant to catch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ppl_models", "inference", "analysis")

# a new module, what it imports (also inside a function: late imports count), and the wall it breaks
BREACHES = {
    "analysis.breach_torch": ("torch", "analysis reads files"),
    "analysis.breach_pyro": ("pyro", "analysis reads files"),
    "analysis.breach_models": ("ppl_models.errors", "analysis reads files"),
    "analysis.breach_inference": ("inference", "analysis reads files"),
    "analysis.breach_arviz": ("arviz", "arviz has one door"),
    "inference.breach_arviz": ("arviz", "arviz has one door"),
    "inference.breach_analysis": ("analysis", "inference writes files"),
    "ppl_models.breach_inference": ("inference", "ppl_models says what the models are"),
    "ppl_models.nets.breach_up": ("ppl_models.distributions", "the layers inside ppl_models"),
    "ppl_models.distributions.breach_up": ("ppl_models.programs", "the layers inside ppl_models"),
    "ppl_models.guides.breach_side": ("ppl_models.priors", "the layers inside ppl_models"),
    "ppl_models.programs.breach_up": ("ppl_models.recipes", "the layers inside ppl_models"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from importlinter.cli import lint_imports as f; sys.exit(f(no_cache=True))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and their contracts, to be broken."""
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_walls_stand() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_breach_is_caught(house: Path) -> None:
    for module, (imported, _) in BREACHES.items():
        path = house / f"{module.replace('.', '/')}.py"
        path.write_text(f"def late():\n    import {imported}\n    return {imported}\n")
    result = lint(house)
    assert result.returncode != 0
    broken = " ".join(result.stdout.split("Broken contracts")[-1].split())
    for module, (imported, wall) in BREACHES.items():
        assert wall in broken, f"{wall}: not reported\n{result.stdout}"
        assert f"{module} -> {imported}" in broken, f"{module} -> {imported}\n{result.stdout}"


def test_analysis_runs_where_the_others_cannot_be_imported() -> None:
    """Seen from outside import-linter: all of analysis imports with the others shut out."""
    code = """
import importlib, pkgutil, sys
class Shut:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "pyro", "lightning_fabric", "ppl_models", "inference"):
            raise ModuleNotFoundError(f"{name} is shut out")
sys.meta_path.insert(0, Shut())
import analysis
names = [m.name for m in pkgutil.walk_packages(analysis.__path__, "analysis.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) >= 5, "analysis has fewer modules than its design names"


def test_starting_a_script_loads_nothing_that_takes_seconds() -> None:
    """Fabric and scipy.stats together took as long as all the rest; they are loaded where they are used."""
    code = """
import sys
import inference.evaluate, inference.posterior, inference.sample, inference.study, inference.train
print([name for name in ("lightning_fabric", "scipy.stats", "sklearn") if name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"
