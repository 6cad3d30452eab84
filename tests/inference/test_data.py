"""Data sets by name: their contents against figures and checksums published elsewhere."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.data import DATA_SETS, ImageData, image_data, load_data
from ppl_models.errors import InvalidInput

# name: shape, levels, sizes. A new data set adds a line here.
NAMES = {
    "digits": ((1, 8, 8), 2, (1297, 250, 250)),
    "digits-grey": ((1, 8, 8), 17, (1297, 250, 250)),
    "mnist": ((1, 28, 28), 256, (50_000, 10_000, 10_000)),
    "fashion-mnist": ((1, 28, 28), 256, (50_000, 10_000, 10_000)),
    "binarized-mnist": ((1, 28, 28), 2, (50_000, 10_000, 10_000)),
    "dna": ((1, 1, 180), 2, (1400, 600, 1186)),
    "mushrooms": ((1, 1, 112), 2, (2000, 500, 5624)),
}
LOCAL = {"mnist": "mnist.npz", "binarized-mnist": "binarized_mnist.npz", "dna": "dna.npz"}
LOCAL["mushrooms"] = "mushrooms.npz"
DEBIAN = Path("/usr/share/datasets")  # of Debian's package dataset-fashion-mnist


def obtain(name: str) -> ImageData:
    """The set, or a skip that says what is missing: tests never download."""
    if name == "fashion-mnist":
        if not (DEBIAN / name / "train-images-idx3-ubyte.gz").exists():
            pytest.skip("Debian's package dataset-fashion-mnist is not installed")
        return load_data(name, DEBIAN)
    folder = os.environ.get("PPL_DATA")
    if name in LOCAL and not (folder and (Path(folder) / LOCAL[name]).exists()):
        pytest.skip(f"no {LOCAL[name]} in PPL_DATA ({folder})")
    return load_data(name)


def independent_pixels(data: ImageData) -> float:
    """Test nats per image of a product of Bernoullis with add-one counts from training."""
    train, test = data.split("train").double(), data.split("test").double()
    p = (train.sum(0) + 1) / (len(train) + 2)
    return float(-(test * p.log() + (1 - test) * (1 - p).log()).sum(1).mean())


def test_every_name_has_a_line_here() -> None:
    assert set(NAMES) == set(DATA_SETS)


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_is_what_it_says(name: str) -> None:
    shape, levels, sizes = NAMES[name]
    data = obtain(name)
    assert (data.name, data.shape, data.levels) == (name, shape, levels)
    assert data.data_dim == np.prod(shape)
    assert tuple(data.sizes.items()) == tuple(zip(("train", "valid", "test"), sizes, strict=True))
    for split, size in data.sizes.items():
        x, labels = data.split(split), data.labels(split)
        assert x.shape == (size, data.data_dim) and x.dtype == torch.float32
        assert (x == x.round()).all() and x.min() == 0 and x.max() == levels - 1
        if labels is not None:
            assert labels.dtype == torch.int64 and labels.unique().tolist() == list(range(10))
            assert len(labels) == size
    assert (data.labels("train") is None) == (name in ("binarized-mnist", "dna", "mushrooms"))


@pytest.mark.parametrize(
    ("name", "nats"),
    [("digits", 25.41), ("binarized-mnist", 205.79), ("dna", 100.39), ("mushrooms", 34.23)],
)
def test_independent_pixels_cost_the_known_nats(name: str, nats: float) -> None:
    assert independent_pixels(obtain(name)) == pytest.approx(nats, abs=0.01)


def test_digits_are_scikit_learns_cut_at_half_intensity() -> None:
    from sklearn.datasets import load_digits

    public = load_digits()
    known = {row.tobytes(): label for row, label in zip(public.data.astype(np.float32), public.target, strict=True)}
    binary, grey = load_data("digits"), load_data("digits-grey")
    seen = []
    for split in binary.sizes:
        rows = grey.split(split)
        assert torch.equal(binary.split(split), (rows >= 8).float())
        assert torch.equal(binary.labels(split), grey.labels(split))
        assert [known[row.numpy().tobytes()] for row in rows] == grey.labels(split).tolist()
        seen += [row.numpy().tobytes() for row in rows]
    assert sorted(seen) == sorted(row.tobytes() for row in public.data.astype(np.float32))


# MD5 of the public files after unzipping: what several independent loaders check against
UNZIPPED = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion-mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


@pytest.mark.parametrize("name", UNZIPPED)
def test_images_and_labels_are_the_public_ones_in_the_public_order(name: str) -> None:
    data, found = obtain(name), []
    for splits in (("train", "valid"), ("test",)):
        x = torch.cat([data.split(split) for split in splits]).numpy().astype(np.uint8)
        y = torch.cat([data.labels(split) for split in splits]).numpy().astype(np.uint8)
        for head, values in ((struct.pack(">4I", 2051, len(x), 28, 28), x), (struct.pack(">2I", 2049, len(y)), y)):
            found.append(hashlib.md5(head + values.tobytes()).hexdigest())
    assert tuple(found) == UNZIPPED[name]


@pytest.mark.parametrize("name", ["binarized-mnist", "dna", "mushrooms"])
def test_a_prefix_is_a_fair_sample(name: str) -> None:
    """Rows sorted as bits would start dark: two halves differ by chance only, in any direction."""
    data = obtain(name)
    directions = torch.randn(data.data_dim, 8)
    for split in ("train", "test"):
        a, b = (data.split(split) @ directions).chunk(2)
        chance = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() < 5 * chance).all()


def test_a_split_is_made_when_asked_for_and_is_the_callers_own() -> None:
    class Sealed(Mapping[str, np.ndarray]):
        def __getitem__(self, key: str) -> np.ndarray:
            assert key == "train", f"{key} was opened"
            return arrays[key]

        def __iter__(self) -> Iterator[str]:
            return iter(arrays)

        def __len__(self) -> int:
            return len(arrays)

    arrays = {split: np.eye(3, dtype=np.uint8) for split in ("train", "valid", "test")}
    data = ImageData("sealed", (1, 1, 3), 2, "sha256:", Sealed(), {})
    data.split("train").zero_()
    assert torch.equal(data.split("train"), torch.eye(3))
    with pytest.raises(AssertionError, match="test was opened"):
        data.split("test")
    with pytest.raises(ValueError, match="read-only"):
        load_data("digits")._splits["train"][0] = 1


def test_the_digest_covers_pixels_shape_and_levels_and_nothing_else() -> None:
    def digest(name: str = "a", change: bool = False, **options: object) -> str:
        splits = {split: np.eye(4, dtype=np.uint8) for split in ("train", "valid", "test")}
        splits["test"] = splits["test"].copy()
        splits["test"][0, 0] = 0 if change else 1
        return image_data(name, splits, **options).digest

    different = {digest(), digest(change=True), digest(levels=3), digest(shape=(2, 2))}
    assert len(different) == 4 and all(d.startswith("sha256:") for d in different)
    labels = {split: np.arange(4) for split in ("train", "valid", "test")}
    assert digest() == digest("b") == digest(labels=labels)


@pytest.mark.bench
def test_loading_binarized_mnist_takes_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    from time import perf_counter

    started = perf_counter()
    obtain("binarized-mnist").split("train")
    seconds = perf_counter() - started
    with capsys.disabled():
        print(f"\nload_data('binarized-mnist') and its training split: {seconds:.2f} s")
    assert seconds < 10


@pytest.mark.soak
def test_loading_again_and_again_keeps_the_digest_and_the_memory() -> None:
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    data, warm = load_data("digits"), 0
    for turn in range(300):
        again = load_data("digits")
        assert again.digest == data.digest
        assert torch.equal(again.split("test"), data.split("test"))
        warm = peak() if turn == 20 else warm
    assert peak() - warm < 50_000, "more than 50 MB of growth over 280 loads"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("digit", "did you mean digits"),
        ("mnsit", "did you mean mnist"),
        ("qqqq", "known: binarized-mnist, digits"),
        ("images.csv", "or a path to an .npz"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"^--data '{name}': no such data set; ") as error:
        load_data(name)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_split_is_refused() -> None:
    for ask in (load_data("digits").split, load_data("digits").labels):
        with pytest.raises(InvalidInput, match=r"--split 'validation'.*did you mean valid"):
            ask("validation")


def test_real_values_are_kept_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    path = tmp_path / "real.npz"
    np.savez(path, train=values, valid=values[:3], test=values[3:], levels=np.array(0))
    data = load_data(str(path))
    assert data.levels == 0
    np.testing.assert_array_equal(data.split("train").numpy(), values)
    with pytest.raises(InvalidInput, match="levels 0 for real values"):
        image_data("real", {"train": values * 0 + 0.5, "valid": values[:2] * 0, "test": values[:2] * 0})
    assert image_data("real", dict.fromkeys(("train", "valid", "test"), values[:2]), levels=0).digest != data.digest
