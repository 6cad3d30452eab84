"""``evaluate(..., resume=True)``, as studies and ``--resume`` call it: answers to the same question are kept, all else
is scored."""

from __future__ import annotations

import numpy as np
import pytest

from inference import evaluate as module
from inference import sandwich
from inference.data import load_data
from inference.estimators import AnnealingOptions
from inference.evaluate import evaluate
from inference.netcdf import write_netcdf
from inference.run import load_run
from ppl_models.errors import InvalidInput

ANNEALING = AnnealingOptions(chains=2, start="guide", leapfrog=2)


@pytest.fixture
def scored(monkeypatch) -> list[str]:
    """The names of the estimators that were run."""
    names, original = [], module.score

    def score(estimator, *given):
        names.append(estimator.name)
        return original(estimator, *given)

    monkeypatch.setattr(module, "score", score)
    return names


@pytest.fixture
def again(copied, tiny, scored):
    """Evaluate a VAE, forget what was run, and return the run and how to evaluate it again."""
    run, data = load_run(copied("vae")), load_data(str(tiny))
    evaluate(run, data, ["elbo:4", "ais:2"], annealing=ANNEALING, limit=5)
    scored.clear()
    return run, lambda *names, **more: evaluate(
        run, data, names, **{"annealing": ANNEALING, "limit": 5, "resume": True, **more}
    )


def test_what_is_there_is_kept_and_an_added_estimator_scored(again, scored) -> None:
    run, evaluate_again = again
    before = module.read_evidence(run.path / "evidence.nc")
    (run.path / "latents.nc").unlink()  # as after a kill between the two files
    found = evaluate_again("elbo:4", "iw:8", "ais:2")
    assert scored == ["iw:8"]
    assert found.estimator.values.tolist() == ["elbo:4", "ais:2", "iw:8"]
    for name in ("log_evidence", "seconds"):
        np.testing.assert_array_equal(found[name].sel(estimator=["elbo:4", "ais:2"]), before[name])
    assert found.attrs["settings of ais:2"] == before.attrs["settings of ais:2"]
    assert (run.path / "latents.nc").is_file()
    evaluate_again("elbo:4", "iw:8", "ais:2")
    assert scored == ["iw:8"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"limit": 6}, ["elbo:4", "ais:2"]),
        ({"limit": 3}, []),
        ({"annealing": AnnealingOptions(chains=3, start="guide", leapfrog=2)}, ["ais:2"]),
        ({"resume": False}, ["elbo:4", "ais:2"]),
        ({"overwrite": True}, ["elbo:4", "ais:2"]),
        ({"split": "valid"}, ["elbo:4", "ais:2"]),
    ],
    ids=lambda value: None if isinstance(value, list) else "-".join(value),
)
def test_another_question_is_answered_anew(more, expected, again, scored) -> None:
    _, evaluate_again = again
    evaluate_again("elbo:4", "ais:2", **more)
    assert scored == expected


def test_a_value_that_is_missing_is_no_answer(again, scored) -> None:
    _, evaluate_again = again
    evaluate_again("iw:8", limit=7)
    scored.clear()
    evaluate_again("elbo:4", "iw:8", limit=7)  # two images have no elbo:4
    assert scored == ["elbo:4"]


def test_numbers_of_other_weights_are_refused(again, scored) -> None:
    run, evaluate_again = again
    path = run.path / "evidence.nc"
    write_netcdf(path, module.read_evidence(path).assign_attrs(epoch=99))
    with pytest.raises(InvalidInput, match="epoch 99 there, 2 asked"):
        evaluate_again("elbo:4", "ais:2")
    assert scored == []


def test_what_was_scored_before_a_failure_is_kept(again, scored, monkeypatch) -> None:
    run, evaluate_again = again
    counting = module.score

    def score(estimator, *given):
        if estimator.name == "iw:9":
            raise KeyboardInterrupt
        return counting(estimator, *given)

    with monkeypatch.context() as patched:
        patched.setattr(module, "score", score)
        with pytest.raises(KeyboardInterrupt):
            evaluate_again("iw:8", "iw:9", overwrite=True)
    assert module.read_evidence(run.path / "evidence.nc").estimator.values.tolist() == ["iw:8"]
    scored.clear()
    assert evaluate_again("iw:8", "iw:9").estimator.values.tolist() == ["iw:8", "iw:9"]
    assert scored == ["iw:9"]


def test_overwriting_forgets_what_was_there_and_nothing_of_its_own(again) -> None:
    _, evaluate_again = again
    found = evaluate_again("iw:8", "iw:9", overwrite=True)
    assert found.estimator.values.tolist() == ["iw:8", "iw:9"]


@pytest.fixture
def bracketed(monkeypatch) -> list[int]:
    """The numbers of temperatures that images were annealed along."""
    numbers, original = [], sandwich.sandwich

    def count(*given, **options):
        numbers.append(options["num_temperatures"])
        return original(*given, **options)

    monkeypatch.setattr(sandwich, "sandwich", count)
    return numbers


def test_brackets_that_are_there_are_kept(again, bracketed) -> None:
    _, evaluate_again = again
    few = AnnealingOptions(chains=2, start="guide", leapfrog=2, simulated=4)
    evaluate_again("bdmc:2", annealing=few)
    evaluate_again("bdmc:2", "bdmc:3", annealing=few)
    assert bracketed == [2, 3]
    evaluate_again("bdmc:2", annealing=AnnealingOptions(chains=2, start="guide", leapfrog=2, simulated=3))
    assert bracketed == [2, 3]
    evaluate_again("bdmc:2", annealing=AnnealingOptions(chains=2, start="guide", leapfrog=2, simulated=5))
    evaluate_again("bdmc:2", annealing=AnnealingOptions(chains=3, start="guide", leapfrog=2, simulated=5))
    evaluate_again("bdmc:3", annealing=few, resume=False)
    assert bracketed == [2, 3, 2, 2, 3]


def test_the_script_resumes(again, scored, bracketed, capsys) -> None:
    run, _ = again
    flags = ["--limit", "5", "--quiet", "--chains", "2", "--leapfrog", "2", "--start", "guide", "--simulated", "3"]
    command = [str(run.path), "--estimators", "elbo:4", "iw:8", "ais:2", "bdmc:2", *flags]
    module.main([*command, "--resume"])
    assert (scored, bracketed) == (["iw:8"], [2])
    first = capsys.readouterr().out
    module.main([*command, "--resume"])
    assert (scored, bracketed) == (["iw:8"], [2])
    assert capsys.readouterr().out == first
    with pytest.raises(InvalidInput, match="contradicts --overwrite"):
        module.main([*command, "--resume", "--overwrite"])
