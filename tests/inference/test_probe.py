"""The linear probe: against scikit-learn's own fit on pixels, and codes whose accuracy is known without a fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from inference.data import SPLITS, ImageData, image_data, load_data
from inference.probe import draws_of, linear_probe, write_probe
from inference.run import Run
from ppl_models import InvalidInput
from ppl_models.guides import Guide, LadderNormal
from ppl_models.programs import VAE
from tests.inference.measures.channels import WithoutMean


class Read(Guide):
    """q(z | x) = N(a x_l, s^2) of the first L pixels."""

    def __init__(self, data_dim: int, latent_dim: int, gain: float = 1.0, scale: float = 1e-6) -> None:
        super().__init__(data_dim, latent_dim)
        self.gain, self.scale = gain, scale

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.gain * x[..., : self.latent_dim], self.scale).to_event(1)


def run_of(guide: Guide | None, path: Path = Path()) -> Run:
    return Run(path, VAE(4, 2, (4,)), guide, {"seed": 3})


def labelled(sizes: tuple[int, int, int] = (400, 60, 300), classes: int = 4) -> ImageData:
    """Images of four pixels, of which pixel c is on: the label is c, the others noise after the fourth."""
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(0, classes, n) for name, n in zip(("train", "valid", "test"), sizes, strict=True)}
    images = {name: np.hstack([np.eye(classes)[y], rng.integers(0, 2, (len(y), 2))]) for name, y in labels.items()}
    return image_data("planted", {name: x.astype(np.uint8) for name, x in images.items()}, labels)


def test_the_pixels_themselves_are_as_accurate_as_scikit_learn_says() -> None:
    """The standardization written out."""
    digits = load_data("digits")
    # A pixel that is always off would be noise to the draws and nothing to the means.
    some = (digits.split("train").std(0) > 0.1).nonzero()[::3, 0]
    splits = {name: digits.split(name)[:, some].numpy() for name in SPLITS}
    data = image_data("pixels", splits, {name: digits.labels(name).numpy() for name in SPLITS})
    train, test = (splits[name].astype(float) for name in ("train", "test"))
    model = LogisticRegression(C=1.0, max_iter=1000).fit((train - train.mean(0)) / train.std(0), digits.labels("train"))
    guessed = model.predict((test - train.mean(0)) / train.std(0))
    expected = (guessed == digits.labels("test").numpy()).mean()
    found = linear_probe(run_of(Read(data.data_dim, data.data_dim)), data)
    assert expected > 0.6, "a third of the pixels"
    assert found.accuracy == pytest.approx(expected, abs=1e-9)
    assert found.accuracy_of_means == pytest.approx(expected, abs=1e-9)
    assert (found.num_train, found.num_images, found.split, found.reason) == (1297, 250, "test", "")
    assert found.stderr == pytest.approx((found.accuracy * (1 - found.accuracy) / 250) ** 0.5)


def test_a_code_that_holds_the_label_is_always_right_and_one_of_noise_is_at_chance() -> None:
    data = labelled()
    assert linear_probe(run_of(Read(6, 4)), data).accuracy == 1.0
    common = np.bincount(data.labels("train").numpy()).argmax()
    for guide in (Read(6, 4, gain=0.0, scale=1.0), Read(6, 4, gain=0.0)):
        found = linear_probe(run_of(guide), data)
        assert found.chance == pytest.approx((data.labels("test").numpy() == common).mean())
        assert abs(found.accuracy - 0.25) < 4 * (0.25 * 0.75 / 300) ** 0.5
        assert found.accuracy_of_means == found.chance, "means that are all alike give every image the commonest label"


def test_what_is_read_is_z_and_not_the_means_that_noise_has_drowned() -> None:
    found = linear_probe(run_of(Read(6, 4, gain=0.01, scale=1.0)), labelled())
    assert found.accuracy_of_means == 1.0
    assert found.accuracy < 0.4


def test_one_bit_of_noise_per_label_has_the_accuracy_of_the_normal_distribution() -> None:
    """Two classes at 0 and 1, noise of s: the best threshold is right with probability Phi(1 / 2s)."""
    rng = np.random.default_rng(1)
    labels = {name: rng.integers(0, 2, n) for name, n in (("train", 4000), ("valid", 10), ("test", 4000))}
    data = image_data("two", {name: np.stack([y, y], 1).astype(np.uint8) for name, y in labels.items()}, labels)
    found = linear_probe(run_of(Read(2, 1, scale=0.5)), data)
    assert found.accuracy == pytest.approx(0.8413, abs=4 * found.stderr)
    assert 0.004 < found.stderr < 0.008


def test_labels_are_read_of_the_split_that_is_asked_for() -> None:
    data = labelled()
    found = linear_probe(run_of(Read(6, 4)), data, "valid")
    assert (found.split, found.num_images, found.accuracy) == ("valid", 60, 1.0)
    with pytest.raises(InvalidInput, match=r"--split 'train'.*valid or test"):
        linear_probe(run_of(Read(6, 4)), data, "train")


def test_draws_are_keyed_by_seed_split_and_image() -> None:
    guide, x = Read(6, 4, scale=1.0), torch.zeros(5, 6)
    first = draws_of(guide, x, 0, "test")
    assert torch.equal(first[2:4], draws_of(guide, x[:4], 0, "test")[2:4])
    assert len(torch.unique(first)) == 20
    for other in (draws_of(guide, x, 1, "test"), draws_of(guide, x, 0, "train")):
        assert not (other == first).any()


def test_without_labels_or_a_latent_vector_the_reason_stands_in_its_place(tmp_path: Path) -> None:
    bare = image_data("bare", {name: np.eye(4, dtype=np.uint8) for name in ("train", "valid", "test")})
    found = linear_probe(run_of(Read(4, 4)), bare)
    assert (found.accuracy, found.chance, found.reason) == (None, None, "bare has no labels")
    for guide in (None, LadderNormal(6, (3, 2), (8,))):
        found = linear_probe(run_of(guide), labelled())
        assert (found.accuracy, found.reason) == (None, "there is no posterior of one latent vector")
    unknown = linear_probe(run_of(WithoutMean([1.0] * 4, 1e-6)), labelled())
    assert (unknown.accuracy, unknown.accuracy_of_means) == (1.0, None)


def test_what_is_found_is_written_with_whose_data_it_is(tmp_path: Path) -> None:
    data = labelled()
    found = write_probe(run_of(Read(6, 4, scale=0.3), tmp_path), data)
    content = json.loads((tmp_path / "probe.json").read_text())
    assert content["accuracy"] == found.accuracy
    assert content["data_digest"] == data.digest
    assert set(content) >= {"format", "stderr", "accuracy_of_means", "chance", "num_train", "num_images", "split"}
    assert found == linear_probe(run_of(Read(6, 4, scale=0.3)), data, seed=3), "the draws are those of the run's seed"
