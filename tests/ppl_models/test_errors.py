"""A refusal is one line, whatever it passes through."""

from __future__ import annotations

import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from ppl_models.errors import InvalidInput, NoExactEvidenceError
from ppl_models.guides import LadderNormal

LINE = "--x 'a b': is wrong, in two lines; mend it"


def refusal(kind: type[InvalidInput] = InvalidInput) -> InvalidInput:
    return kind("--x", "a b", "is wrong,\n in two  lines", "mend it")


def between_processes(error: InvalidInput) -> InvalidInput:
    return pickle.loads(pickle.dumps(error))  # noqa: S301  made here


def test_argument_value_problem_and_remedy_are_one_line() -> None:
    error = refusal()
    assert str(error) == LINE
    assert (error.argument, error.value, error.remedy) == ("--x", "a b", "mend it")


@pytest.mark.parametrize("kind", [InvalidInput, NoExactEvidenceError])
def test_it_survives_the_way_between_processes(kind) -> None:
    back = between_processes(refusal(kind))
    assert (type(back), str(back), back.problem) == (kind, LINE, refusal().problem)


@pytest.mark.parametrize("kind", [InvalidInput, NoExactEvidenceError])
def test_it_survives_pyros_traces(kind) -> None:
    """Pyro makes an error in a traced model anew, from its text and the shapes of the trace; once per trace."""

    def model() -> None:
        pyro.sample("z", dist.Normal(0.0, 1.0))
        raise refusal(kind)

    for traced in (poutine.trace(model), poutine.trace(poutine.trace(model))):
        with pytest.raises(kind) as caught:
            traced.get_trace()
        assert str(caught.value) == LINE
        assert str(between_processes(caught.value)) == LINE


def test_a_guide_without_its_program_says_so_in_a_trace() -> None:
    with pytest.raises(InvalidInput, match=r"^guide 'LadderNormal': is paired with no program; call guide.bind"):
        poutine.trace(LadderNormal(4, (2, 1), (5, 5))).get_trace(torch.zeros(2, 4))
