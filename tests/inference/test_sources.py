"""One order and one digest for the contents of a set, whatever order and format they came in."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from inference.readers import Images
from inference.sources import SOURCES, Source, content_digest, in_fixed_order, verified

SPLITS = ("train", "valid", "test")


def test_the_order_does_not_depend_on_the_order_of_the_rows() -> None:
    """Against Python's own sort of tuples, for widths that do and do not fill their bytes."""
    rng = np.random.default_rng(0)
    for dim in (3, 8, 19):
        rows = rng.integers(0, 2, (40, dim)).astype(np.uint8)
        ordered = sorted(map(tuple, rows.tolist()))
        ordered = np.array(ordered, np.uint8)[np.random.RandomState(0).permutation(40)]
        for _ in range(3):
            assert np.array_equal(in_fixed_order(rng.permutation(rows)), ordered)


def test_the_digest_by_hand() -> None:
    arrays = {split: np.full((2, 3), n, np.uint8) for n, split in enumerate(SPLITS)}
    text = b"head"
    for n, split in enumerate(SPLITS):
        text += f"|{split} |u1 (2, 3)|".encode() + bytes([n] * 6)
    assert content_digest("head", arrays) == f"sha256:{hashlib.sha256(text).hexdigest()}"


def source(keep_order: bool, images: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> Source:
    flat = {k: v if keep_order else in_fixed_order(v) for k, v in images.items()}
    pixels = content_digest(f"{(1, 1, 6)} 2", flat)
    marks = content_digest("labels", labels) if labels else None
    return Source("x.npz", (1, 1, 6), 2, pixels, marks, keep_order, ())


def test_contents_are_verified_with_and_without_their_order() -> None:
    rng = np.random.default_rng(0)
    images = {split: rng.integers(0, 2, (9, 6)).astype(np.uint8) for split in SPLITS}
    labels = {split: rng.integers(0, 10, 9) for split in SPLITS}
    turned = {split: array[::-1] for split, array in images.items()}
    loose, strict = source(False, images, {}), source(True, images, labels)
    a, b = (verified(loose, Images(x)) for x in (images, turned))
    assert all(np.array_equal(a.splits[split], b.splits[split]) for split in SPLITS)
    kept = verified(strict, Images(images, labels))
    assert all(np.array_equal(kept.splits[split], images[split]) for split in SPLITS)

    flipped = {**images, "test": images["test"] ^ np.eye(9, 6, dtype=np.uint8)}
    swapped = {**images, "train": images["valid"], "valid": images["train"]}
    wrong = {**labels, "test": labels["test"][::-1]}
    for judge, given, says in (
        (strict, Images(turned, labels), "images differ"),
        (loose, Images(flipped), "images differ"),
        (loose, Images(swapped), "images differ"),
        (strict, Images(images, wrong), "labels are missing or differ"),
        (strict, Images(images), "labels are missing or differ"),
        (loose, Images({**images, "test": images["test"][:, :5]}), "has the shape"),
    ):
        with pytest.raises(ValueError, match=says):
            verified(judge, given)


def test_every_mirror_names_files_that_a_reader_knows() -> None:
    for name, known in SOURCES.items():
        assert known.digest.startswith("sha256:") and len(known.digest) == 71, name
        for mirror in known.mirrors:
            assert mirror.url.startswith("http") and mirror.url.endswith("/"), mirror.url
            endings = {file.split(".", 1)[1] if "." in file else "" for file in mirror.files}
            assert len(endings) == 1 and endings <= {"npz", "amat", "gz"}
            assert len(mirror.files) == {"npz": 1, "amat": 3, "gz": 4}[endings.pop()]
