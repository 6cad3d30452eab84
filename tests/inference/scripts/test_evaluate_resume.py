"""``evaluate(..., resume=True)``, as studies call it: what answers the same question is kept, all else is scored."""

from __future__ import annotations

import numpy as np
import pytest

from inference import evaluate as module
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
