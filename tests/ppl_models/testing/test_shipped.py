"""``python -m ppl_models.testing NAME`` passes on every guide and program that is shipped."""

from __future__ import annotations

import inspect

import pytest

import ppl_models.guides
import ppl_models.programs
from ppl_models.program import GenerativeProgram
from ppl_models.testing.__main__ import main

# What others are made of: abstract, or without a net of its own.
BASES = {
    "AmortizedGuide",
    "AutoregressiveDecoderProgram",
    "AutoregressiveProgram",
    "DecoderProgram",
    "Guide",
    "GuideProgram",
    "PriorProgram",
}
# A posterior that is searched for per image takes the kit ten seconds and more.
SLOW = {"Laplace", "PyroAuto", "SemiAmortized"}
NAMES = sorted({*ppl_models.guides.__all__, *ppl_models.programs.__all__} - BASES)


def test_bases_are_all_that_is_left_out() -> None:
    assert len(NAMES) + len(BASES) == len(ppl_models.guides.__all__) + len(ppl_models.programs.__all__)
    assert all(not inspect.isabstract(getattr(ppl_models.programs, name, GenerativeProgram)) or name in BASES
               for name in ppl_models.programs.__all__)  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NAMES]
)
def test_the_kit_passes(name: str, capsys: pytest.CaptureFixture) -> None:
    assert main([name]) == 0, capsys.readouterr().out
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[0] == name
    assert len(printed) == {True: 19, False: 17}[name in ppl_models.guides.__all__] + 2
    assert sum(line.startswith("✓") for line in printed) >= 14


def test_a_base_is_refused_in_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main(["AutoregressiveProgram"]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert "no attribute 'net'" in printed.err
