"""Orderings found from images by name: from the training and validation images, and never from the test images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from inference import train as script
from inference.data import ImageData, image_data
from inference.orderings import with_ordering
from inference.train_options import jobs
from ppl_models.errors import InvalidInput
from ppl_models.ordering import DATA_ORDERINGS, by_entropy, by_mutual_information, local_search, optimal
from ppl_models.recipes import build

NAMES = [*DATA_ORDERINGS, "by_mutual_information:chow_liu", "local_search:5"]


class Sealed(ImageData):
    """Raises when the test split is opened, and records what else is."""

    opened: set[str]

    def _of(self, table, name: str) -> np.ndarray:
        if name == "test":
            raise AssertionError("the test split was opened")
        self.__dict__.setdefault("opened", set()).add(name)
        return super()._of(table, name)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = (rng.random((90, 6)) < rng.uniform(0.1, 0.6, 6)).astype(np.uint8)
    x[:, 3:] ^= x[:, :3] & (rng.random((90, 3)) < 0.8)
    return {"train": x[:50], "valid": x[50:70], "test": x[70:]}


@pytest.fixture
def sealed(arrays) -> Sealed:
    data = image_data("here", arrays, shape=(1, 2, 3))
    sealed = Sealed(data.name, data.shape, data.levels, data.digest, data._splits, data._labels)
    with pytest.raises(AssertionError, match="test split was opened"):
        sealed.split("test")
    return sealed


@pytest.fixture
def file(arrays, tmp_path):
    np.savez(tmp_path / "here.npz", **arrays)
    return tmp_path / "here.npz"


@pytest.mark.parametrize("name", NAMES)
def test_no_ordering_is_found_with_the_test_split(name: str, sealed: Sealed) -> None:
    arguments, source = with_ordering({"hidden": [4], "ordering": name}, sealed)
    assert (source, arguments["hidden"]) == (name, [4])
    assert sorted(arguments["ordering"]) == list(range(6))
    assert sealed.opened <= {"train", "valid"}


def test_names_are_found_from_the_training_images_and_scored_on_validation_images(sealed: Sealed) -> None:
    x, valid = sealed.split("train"), sealed.split("valid")
    expected = {
        "by_entropy": by_entropy(x),
        "by_mutual_information": by_mutual_information(x),
        "by_mutual_information:chow_liu": by_mutual_information(x, method="chow_liu"),
        "optimal": optimal(x, valid),
        "local_search:5": local_search(x, valid, num_swaps=5).ordering,
    }
    for name, ordering in expected.items():
        assert with_ordering({"ordering": name}, sealed)[0]["ordering"] == list(ordering.sequence)


@pytest.mark.parametrize("arguments", [{}, {"ordering": "snake"}, {"ordering": [1, 0]}, {"hidden": [3]}])
def test_other_arguments_are_left_alone(arguments: dict, sealed: Sealed) -> None:
    assert with_ordering(arguments, sealed) == (arguments, None)
    assert not hasattr(sealed, "opened")


def test_levels_reach_the_search(arrays) -> None:
    grey = {name: x * 3 for name, x in arrays.items()}
    data = image_data("grey", grey, shape=(1, 2, 3), levels=4)
    expected = by_mutual_information(data.split("train"), levels=4)
    assert with_ordering({"ordering": "by_mutual_information"}, data)[0]["ordering"] == list(expected.sequence)
    for name in ("optimal", "local_search"):
        with pytest.raises(InvalidInput, match="binary images only"):
            with_ordering({"ordering": name}, data)


def test_a_run_keeps_the_ordering_and_its_name(file, tmp_path) -> None:
    options = ["--recipe", "made", "--data", str(file), "--recipe.hidden", "[4]", "--epochs", "1", "--quiet"]
    script.main([*options, "--recipe.ordering", "by_entropy", "--seeds", "0", "1", "--out", str(tmp_path / "run")])
    x = torch.from_numpy(np.load(file)["train"]).float()
    for seed in (0, 1):
        config = json.loads((tmp_path / "run" / f"seed-{seed}" / "config.json").read_text())
        assert config["ordering_source"] == "by_entropy"
        assert config["recipe_arguments"]["ordering"] == list(by_entropy(x).sequence)
        program, _ = build(config["recipe"], config, config["recipe_arguments"])
        assert program.ordering == by_entropy(x)
    script.main([*options, "--recipe.ordering", "random:1", "--out", str(tmp_path / "other")])
    assert "ordering_source" not in json.loads((tmp_path / "other" / "config.json").read_text())


def test_a_run_is_continued_under_the_same_name_and_no_other(file, tmp_path) -> None:
    options = ["--recipe", "made", "--data", str(file), "--recipe.hidden", "[4]", "--epochs", "1", "--quiet"]
    options += ["--out", str(tmp_path / "run")]
    script.main([*options, "--recipe.ordering", "local_search:5"])
    script.main([*options, "--recipe.ordering", "local_search:5", "--resume"])
    with pytest.raises(InvalidInput, match=r"holds another run.*ordering_source"):
        script.main([*options, "--recipe.ordering", "local_search:6", "--resume"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("by_entropy:3", "write by_entropy"),
        ("by_mutual_information:x", "no way to order"),
        ("by_mutual", "did you mean by_mutual_information"),
        ("local_search:-1", "local_search:SWAPS"),
    ],
)
def test_what_names_no_ordering_is_refused_before_anything_is_written(name, message, file, tmp_path) -> None:
    arguments = ["--recipe", "made", "--data", str(file), "--out", str(tmp_path / "run"), "--recipe.ordering", name]
    with pytest.raises(InvalidInput, match=message):
        script.main(arguments)
    assert not (tmp_path / "run").exists()


def test_too_many_pixels_for_the_best_of_all_orders_is_one_line(tmp_path) -> None:
    with pytest.raises(InvalidInput) as caught:
        jobs(["--recipe", "made", "--recipe.ordering", "optimal", "--out", str(tmp_path / "run")])
    assert str(caught.value) == (
        "ordering 'optimal': the best of all orders is searched for up to 12 pixels, and there are 64; "
        "use by_mutual_information, by_entropy or local_search"
    )
    assert not (tmp_path / "run").exists()
