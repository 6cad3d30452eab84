"""What a newcomer meets first: commands exist, versions agree, importing changes nothing."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, flags=re.MULTILINE))


def code_in(markdown: str) -> str:
    """The fenced blocks and the `inline` code of a text: prose may say "make sure"."""
    fenced = re.findall(r"^```.*?\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S))
    return "\n".join(fenced + inline)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/files.md"])
def test_every_make_command_in_the_documents_exists(name: str) -> None:
    if not (ROOT / name).exists():
        pytest.skip(f"there is no {name}")
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code_in((ROOT / name).read_text())))
    assert named <= TARGETS, f"{name} names targets that the Makefile lacks: {named - TARGETS}"


def test_the_makefile_has_the_promised_targets() -> None:
    promised = {"compare", "test", "test-all", "lint", "bench", "soak", "study", "clean"}
    assert promised <= TARGETS


def test_the_modules_that_the_makefile_runs_exist() -> None:
    named = set(re.findall(r"-m ((?:inference|analysis|ppl_models)[\w.]*)", MAKEFILE))
    assert {"inference.study", "analysis.report"} <= named
    for module in named:
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"no module {module}"


def test_a_study_without_a_name_is_refused_in_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    stamp = tmp_path / ".venv" / ".installed"
    stamp.parent.mkdir()
    for path in (tmp_path / "pyproject.toml", tmp_path / "constraints.txt", stamp):
        path.touch()
    result = subprocess.run(["make", "study"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    assert "NAME=compare" in result.stderr.splitlines()[0]


def test_versions_agree() -> None:
    import ppl_models

    assert metadata.version("ppl-models") == PROJECT["version"] == ppl_models.__version__


def test_constraints_pin_every_package_direct_and_transitive() -> None:
    pins = [
        Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    ]
    pinned = {canonicalize_name(p.name) for p in pins if not p.marker or p.marker.evaluate()}
    todo = [Requirement("ppl-models[test,track]")]
    seen: set[str] = set()
    while todo:
        requirement = todo.pop()
        for line in metadata.requires(requirement.name) or []:
            needed = Requirement(line)
            if needed.marker and not any(
                needed.marker.evaluate({"extra": extra}) for extra in (requirement.extras or {""})
            ):
                continue
            name = canonicalize_name(needed.name)
            if name not in seen and not name.startswith(("nvidia-", "cuda-", "triton")):
                seen.add(name)  # what builds of torch with CUDA bring is pinned by torch itself
                todo.append(needed)
    assert seen >= {"torch", "numpy", "sympy"}, "the walk over the dependencies went nowhere"
    assert seen <= pinned, f"constraints.txt pins no version of {sorted(seen - pinned)}"


def test_tests_hold_no_package() -> None:
    """An __init__.py in tests/inference would shadow the package inference."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


GLOBAL_STATE = """
import json, logging, os, random, sys, warnings
import numpy as np, torch

def state():
    return {
        "validation default": torch.distributions.Distribution._validate_args,
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "grad mode": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "matmul precision": torch.get_float32_matmul_precision(),
        "torch rng": torch.get_rng_state().tolist(),
        "numpy rng": str(np.random.get_state()),
        "python rng": str(random.getstate()),
        "numpy errors": np.geterr(),
        "warning filters": [str(entry) for entry in warnings.filters],
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "root logger": [logging.root.level, len(logging.root.handlers)],
        "excepthook": str(sys.excepthook),
    }

def compare(*imports):
    import importlib, pkgutil
    before = state()
    for name in imports:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    after = state()
    print(json.dumps([[k, before[k], after[k]] for k in before if before[k] != after[k]]))
"""


def changes(statement: str) -> list[list[object]]:
    """What a fresh interpreter finds changed by a statement, relative to plain numpy and torch."""
    command = [sys.executable, "-c", GLOBAL_STATE + statement]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_importing_every_module_of_ppl_models_changes_no_global_state() -> None:
    assert changes("compare('ppl_models')") == []


def test_the_comparison_of_global_state_sees_a_change(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(
        "import torch, warnings\n"
        "torch.distributions.Distribution.set_default_validate_args(False)\n"
        "torch.manual_seed(1)\nwarnings.simplefilter('ignore')\n"
    )
    found = changes(f"sys.path.insert(0, {str(tmp_path)!r}); compare('rude')")
    assert [change[0] for change in found] == ["validation default", "torch rng", "warning filters"]


def test_the_guard_fails_tests_that_change_global_state(tmp_path: Path) -> None:
    """Each rude test errs at its end, and the polite one after it finds the state as it was."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    rude = {
        "dtype": "torch.set_default_dtype(torch.float64)",
        "grad": "torch.set_grad_enabled(False)",
        "threads": "torch.set_num_threads(2)",
        "validation": "torch.distributions.Distribution.set_default_validate_args(False)",
        "settings": "pyro.enable_validation(False)",
        "store": "pyro.param('left', torch.zeros(1))",
        "folder": "os.chdir('/')",
    }
    lines = ["import os, torch, pyro"]
    for name, statement in rude.items():
        lines.append(f"def test_rude_{name}():\n    {statement}")
    lines.append("def test_polite():\n    assert torch.zeros(1).dtype == torch.float32")
    lines.append("def test_monkeypatched(monkeypatch, tmp_path):\n    monkeypatch.chdir(tmp_path)")
    (tmp_path / "test_rude.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert f"{len(rude) + 2} passed, {len(rude)} errors" in result.stdout, result.stdout
    for name in rude:
        assert f"ERROR test_rude.py::test_rude_{name}" in result.stdout
