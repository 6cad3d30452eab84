"""Files of images: every form that is read, and every form that is refused in one line."""

from __future__ import annotations

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.data import load_data
from inference.readers import Images, read_npz, write_npz
from inference.sources import SOURCES, content_digest
from ppl_models.errors import InvalidInput

SPLITS = ("train", "valid", "test")


def bits(*shape: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {split: rng.integers(0, 2, (n, *shape)).astype(np.uint8) for n, split in enumerate(SPLITS, start=4)}


def saved(folder: Path, arrays: dict[str, object]) -> str:
    np.savez(folder / "images.npz", **arrays)
    return str(folder / "images.npz")


@pytest.mark.parametrize(
    ("shape", "found"),
    [((15,), (1, 1, 15)), ((3, 5), (1, 3, 5)), ((2, 3, 5), (2, 3, 5)), ((1,), (1, 1, 1))],
)
@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "bool"])
def test_plain_arrays_of_any_rank_and_type(
    tmp_path: Path, shape: tuple[int, ...], found: tuple[int, ...], kind: str
) -> None:
    arrays = bits(*shape)
    path = saved(tmp_path, {k: v.astype(kind) for k, v in arrays.items()})
    data = load_data(path)
    assert (data.name, data.shape, data.levels) == (path, found, 2)
    for split, array in arrays.items():
        flat = torch.tensor(array.reshape(len(array), -1), dtype=torch.float32)
        assert torch.equal(data.split(split), flat)


@pytest.mark.parametrize("shape", [(15,), (4, 4), (1, 3, 7)])
def test_packed_bits_are_unpacked_by_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    arrays = bits(int(np.prod(shape)))
    packed = {split: np.packbits(array, axis=1) for split, array in arrays.items()}
    data = load_data(saved(tmp_path, packed | {"shape": np.array(shape)}))
    assert data.shape == (1,) * (3 - len(shape)) + shape
    for split, array in arrays.items():
        assert torch.equal(data.split(split), torch.tensor(array, dtype=torch.float32))


def test_levels_and_labels_travel_with_the_images(tmp_path: Path) -> None:
    arrays = bits(6)
    arrays["valid"][0, 0] = 200
    labels = {f"{split}_labels": np.arange(len(array)) for split, array in arrays.items()}
    assert load_data(saved(tmp_path, arrays | labels)).levels == 256
    data = load_data(saved(tmp_path, arrays | labels | {"levels": np.array(201), "shape": [2, 3]}))
    assert (data.levels, data.shape) == (201, (1, 2, 3))
    assert data.labels("valid").tolist() == [0, 1, 2, 3, 4]
    assert load_data(saved(tmp_path, arrays)).labels("valid") is None


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for levels, factor in ((2, 1), (256, 255)):
        arrays = {split: array * np.uint8(factor) for split, array in bits(15).items()}
        labels = {split: np.arange(len(array)) for split, array in arrays.items()}
        write_npz(tmp_path / "w.npz", Images(arrays, labels, (1, 3, 5), levels))
        width = 2 if levels == 2 else 15  # bits are packed
        assert np.load(tmp_path / "w.npz")["train"].shape == (4, width)
        read = read_npz(tmp_path / "w.npz")
        assert (read.shape, read.levels) == ((1, 3, 5), levels)
        for split in SPLITS:
            assert np.array_equal(read.splits[split], arrays[split])
            assert np.array_equal(read.labels[split], labels[split])


def changed(split: str, value: object) -> dict[str, object]:
    return bits(6) | {split: value}


def with_pixel(value: float) -> dict[str, object]:
    array = bits(6)["test"].astype(float)
    array[1, 2] = value
    return changed("test", array)


BAD = {
    "no test key": ({k: v for k, v in bits(6).items() if k != "test"}, "no key test"),
    "no key at all": ({"x": np.zeros(3)}, "no key train, valid, test (it has x)"),
    "nan": (with_pixel(np.nan), "split 'test' holds NaN or infinity"),
    "infinity": (with_pixel(np.inf), "split 'test' holds NaN or infinity"),
    "fraction": (with_pixel(0.5), "split 'test' has values that are not whole"),
    "negative": (with_pixel(-1), "split 'test' has values from -1.0 to 1.0, outside 0..1"),
    "above levels": (with_pixel(3) | {"levels": 3}, "outside 0..2"),
    "above a byte": (with_pixel(256), "outside 0..255"),
    "another D": (changed("valid", np.zeros((4, 7))), "split 'valid' has 7 values per image"),
    "shape of another D": (bits(6) | {"shape": [5, 5]}, "has 6 values per image, not 25"),
    "shape of zero": (bits(6) | {"shape": [0, 6]}, "has images of shape (0, 6)"),
    "fractional shape": (bits(6) | {"shape": [1.5, 4]}, "whole numbers"),
    "four dims": (bits(1, 1, 2, 3), "has images of shape (1, 1, 2, 3)"),
    "empty split": (changed("valid", np.zeros((0, 6))), "split 'valid' has the shape (0, 6)"),
    "one image": (changed("test", np.zeros((1, 6))), "has the shape (1, 6): too small"),
    "no axis for images": (changed("train", np.zeros(6)), "split 'train' has the shape (6,)"),
    "text": (changed("train", np.array([["a"] * 6] * 3)), "holds <U1"),
    "objects": (changed("train", np.array([[None] * 6] * 3)), "allow_pickle"),
    "levels of one": (bits(6) | {"levels": 1}, "has levels 1"),
    "levels of 1000": (bits(6) | {"levels": 1000}, "has levels 1000"),
    "labels too short": (bits(6) | {"test_labels": np.arange(2)}, "labels of 'test'"),
    "labels no numbers": (bits(6) | {"test_labels": np.zeros(6)}, "labels of 'test'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    arrays, says = BAD[case]
    path = saved(tmp_path, arrays)
    with pytest.raises(InvalidInput) as error:
        load_data(path)
    line = str(error.value)
    assert line.startswith(f"--data {path!r}: ") and says in line
    assert "; " in line and "\n" not in line


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    whole = Path(saved(tmp_path, bits(6))).read_bytes()
    np.save(tmp_path / "array.npy", np.zeros((3, 3)))
    contents = {
        "text.npz": b"1 0 1\n",
        "empty.npz": b"",
        "array.npz": (tmp_path / "array.npy").read_bytes(),
        "cut.npz": whole[: len(whole) // 2],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=r"is no \.npz file, or was cut off"):
            load_data(str(tmp_path / name))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InvalidInput, match=r"is no \.npz file"):
        load_data(str(tmp_path / "folder.npz"))
    with pytest.raises(InvalidInput, match=r"absent\.npz': does not exist"):
        load_data(str(tmp_path / "absent.npz"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damage_to_a_file_gets_through_unnoticed(tmp_path: Path, save) -> None:
    """Every byte in turn is damaged: the images come out whole, or the file is refused."""
    path = tmp_path / "images.npz"
    save(path, **bits(6), shape=[2, 3])
    whole, expected = path.read_bytes(), load_data(str(path))
    outcomes = {"same": 0, "refused": 0}
    for position in range(0, len(whole), 1 + len(whole) // 700):
        damaged = bytearray(whole)
        damaged[position] ^= 0x15
        path.write_bytes(damaged)
        try:
            digest = load_data(str(path)).digest
        except InvalidInput:
            outcomes["refused"] += 1
            continue
        assert digest == expected.digest, f"byte {position} changed pixels"
        outcomes["same"] += 1
    assert outcomes["refused"] > 100


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_cut_at_50_000(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = {"train": 60_000, "t10k": 99}
    pixels = {part: rng.integers(0, 256, (n, 1, 2)) for part, n in sizes.items()}
    marks = {part: rng.integers(0, 10, n) for part, n in sizes.items()}
    for part in pixels:
        for kind, array in (("images-idx3", pixels[part]), ("labels-idx1", marks[part])):
            content = gzip.compress(idx(array), 1) if zipped else idx(array)
            path = tmp_path / f"{part}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(content)

    def cut(both: dict[str, np.ndarray], kind: type) -> dict[str, np.ndarray]:
        whole = {name: array.reshape(len(array), -1).squeeze().astype(kind) for name, array in both.items()}
        parts = (whole["train"][:50_000], whole["train"][50_000:], whole["t10k"])
        return dict(zip(SPLITS, parts, strict=True))

    flat, labels = cut(pixels, np.uint8), cut(marks, np.int64)
    known = replace(
        SOURCES["mnist"],
        shape=(1, 1, 2),
        digest=content_digest("(1, 1, 2) 256", flat),
        labels_digest=content_digest("labels", labels),
    )
    monkeypatch.setitem(SOURCES, "mnist", known)
    data = load_data("mnist", tmp_path)
    assert data.sizes == {"train": 50_000, "valid": 10_000, "test": 99}
    assert np.array_equal(data.split("valid").numpy(), flat["valid"])
    assert np.array_equal(data.labels("test").numpy(), labels["test"])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InvalidInput, match=r"^--data-dir " if zipped else "was cut off: 90 of 99 bytes"):
        load_data("mnist", tmp_path)
