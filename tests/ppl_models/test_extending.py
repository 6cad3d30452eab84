"""``docs/extending.md``: its files, in an empty folder, do what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
BLOCKS = re.findall(r"```\n(python .*?)```", PAGE, re.DOTALL)
COMMANDS = [line.split() for block in BLOCKS for line in block.splitlines()]
# So that a training takes seconds.
QUICK = {"inference.train": ["--epochs", "2", "--quiet", "--device", "cpu"], "inference.evaluate": ["--quiet"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page."""
    path = tmp_path_factory.mktemp("user")
    for name, code in FILES.items():
        (path / name).write_text(code)
    return path


def run(folder: Path, *arguments: str) -> str:
    """Python in that folder, as a user calls it; gives what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_a_file_for_each_and_none_is_long() -> None:
    assert set(FILES) == {"my_guide.py", "my_prior.py", "my_program.py", "my_objective.py", "use.py"}
    assert [command[2] for command in COMMANDS] == [
        "ppl_models.testing", "inference.train", "inference.evaluate", "ppl_models.testing"
    ]  # fmt: skip
    assert all(len(code.splitlines()) <= 25 for code in FILES.values())


@pytest.mark.slow
def test_the_commands_of_the_page(folder: Path) -> None:
    printed = [run(folder, *command[1:], *QUICK.get(command[2], [])) for command in COMMANDS]
    for report in (printed[0], printed[3]):
        assert "✗" not in report
    assert "✓ exact where it can be" in printed[0]
    assert "nats (LOWER_BOUND)" in printed[1]
    assert (folder / "runs" / "mine" / "evidence.nc").is_file()


def test_all_of_them_together(folder: Path) -> None:
    lines = run(folder, "use.py").splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["Templates", "VAE"]
    assert all("LOWER_BOUND" in line for line in lines[:2])
    assert "failed" not in lines[2]
