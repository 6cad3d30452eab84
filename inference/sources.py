"""Public data sets that do not ship with the project: who hands them out, and what proves them.

Copies of a set differ in format and in the order of their images, so what is verified is neither
a file nor its bytes but the contents, by a digest written below, after they were put into one
order: image 17 of a split is the same image on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from inference.readers import SPLITS, Images


@dataclass(frozen=True)
class Mirror:
    """A public folder and the files in it, with their checksums where the publisher gives any.

    A file without one is still verified, by the contents of the whole set.
    """

    url: str
    files: Mapping[str, str | None]


@dataclass(frozen=True)
class Source:
    """A public data set: its geometry, its proof, and the places that hand it out.

    Args:
        file: the `.npz` that is looked for in folders, and written to the cache.
        shape: channels, height and width of an image.
        levels: number of values of a pixel.
        digest: `content_digest` of the splits, in their final order.
        labels_digest: `content_digest` of the labels; None where there are none.
        keep_order: whether the public order of the images stays. Otherwise rows are sorted and
            then permuted, because copies of the set differ in their order.
        mirrors: where to download it, tried in turn.
    """

    file: str
    shape: tuple[int, int, int]
    levels: int
    digest: str
    labels_digest: str | None
    keep_order: bool
    mirrors: tuple[Mirror, ...]


def _idx_files(*md5: str) -> dict[str, str | None]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return {f"{name}-ubyte.gz": f"md5:{h}" for name, h in zip(names, md5, strict=True)}


_MNIST = _idx_files(
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
_FASHION = _idx_files(
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
_AMAT = dict.fromkeys(f"binarized_mnist_{split}.amat" for split in SPLITS)
# MADE's authors (Germain et al. 2015, 1502.03509) keep the sets of their paper beside the code.
_MADE = "https://raw.githubusercontent.com/mgermain/MADE/ace8010eb56461b7ac5104d4baf4ffc171665ebc/datasets/"

SOURCES: dict[str, Source] = {
    # LeCun, Bottou, Bengio and Haffner 1998
    "mnist": Source(
        "mnist.npz",
        (1, 28, 28),
        256,
        "sha256:14ef2de8b0d64ad9decabeeb6b80c5c4bfbc2cd145473afa0664db60eb0a0797",
        "sha256:8f0a1d41f0134e19e384e34f1298d488250f1c8971b9fe228729f1c22e3a7ca2",
        True,
        (
            Mirror("https://ossci-datasets.s3.amazonaws.com/mnist/", _MNIST),
            Mirror("https://storage.googleapis.com/cvdf-datasets/mnist/", _MNIST),
        ),
    ),
    # Xiao, Rasul and Vollgraf 2017, 1708.07747
    "fashion-mnist": Source(
        "fashion_mnist.npz",
        (1, 28, 28),
        256,
        "sha256:f9d156ecd6c5dd5e32405599a458d39ade9eca31662ee11ed4682b04a1b80ed7",
        "sha256:ae4cd57f87a05fa6b4de38fff7a918f077221eec770d15140ccd7406dbb9acb1",
        True,
        (Mirror("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", _FASHION),),
    ),
    # Static binarization: Salakhutdinov and Murray 2008; the files: Larochelle and Murray 2011
    "binarized-mnist": Source(
        "binarized_mnist.npz",
        (1, 28, 28),
        2,
        "sha256:6efca6028f244d256c6b172fc10a7ec7282c6e690291ff15069fe13ba0bc593c",
        None,
        False,
        (
            Mirror("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/", _AMAT),
            Mirror(
                "https://github.com/mgermain/MADE/releases/download/ICML2015/",
                {"binarized_mnist.npz": None},
            ),
        ),
    ),
    # UCI, in the splits of Larochelle, Bengio and Turian 2010, which NADE and MADE report on
    "dna": Source(
        "dna.npz",
        (1, 1, 180),
        2,
        "sha256:7b4c5b7003f3b76fa9a9008dbb67ae038be66008ab809670dc28d49f4eda9981",
        None,
        False,
        (Mirror(_MADE, {"dna.npz": None}),),
    ),
    "mushrooms": Source(
        "mushrooms.npz",
        (1, 1, 112),
        2,
        "sha256:77da3b6a3178bd4c1fe886bfcdda94326e719c47e19f46b343bad4c9c63340a6",
        None,
        False,
        (Mirror(_MADE, {"mushrooms.npz": None}),),
    ),
}


def content_digest(header: str, splits: Mapping[str, np.ndarray]) -> str:
    """`sha256:...` over a header and the splits, each with its name, type and shape."""
    sha = hashlib.sha256(header.encode())
    for name in SPLITS:
        array = np.ascontiguousarray(splits[name])
        sha.update(f"|{name} {array.dtype.str} {array.shape}|".encode())
        sha.update(array.data)
    return f"sha256:{sha.hexdigest()}"


def in_fixed_order(bits: np.ndarray) -> np.ndarray:
    """Rows of a binary array (N, D) in an order that does not depend on the one they came in.

    Sorted as packed bytes, then permuted once and for all: the first 1000 are a fair sample.
    """
    packed = np.ascontiguousarray(np.packbits(bits, axis=1))
    rows = np.sort(packed.view(np.dtype((np.void, packed.shape[1]))).ravel())
    # NumPy promises that RandomState never changes
    rows = rows[np.random.RandomState(0).permutation(len(rows))]
    unpacked = rows.view(np.uint8).reshape(packed.shape)
    return np.unpackbits(unpacked, axis=1, count=bits.shape[1])


def verified(source: Source, images: Images) -> Images:
    """The images flat (N, D) in their final order, if they are those of the source.

    Raises:
        ValueError: they are not.
    """
    splits = images.splits
    dim = int(np.prod(source.shape))
    for name, array in splits.items():
        if array.ndim < 2 or int(np.prod(array.shape[1:])) != dim:
            raise ValueError(f"split {name!r} has the shape {array.shape}, not (N, {dim})")
    # a value that does not survive the cast changes the digest, so it needs no check of its own
    with np.errstate(invalid="ignore"):
        flat = {name: array.reshape(-1, dim).astype(np.uint8) for name, array in splits.items()}
    if not source.keep_order:
        flat = {name: in_fixed_order(array) for name, array in flat.items()}
    if content_digest(f"{source.shape} {source.levels}", flat) != source.digest:
        raise ValueError("corrupt or another data set: the images differ from the published ones")
    labels = {name: array.astype(np.int64) for name, array in images.labels.items()}
    if source.labels_digest is None:
        return Images(flat, {})
    if set(labels) != set(SPLITS) or content_digest("labels", labels) != source.labels_digest:
        raise ValueError("corrupt: the labels are missing or differ from the published ones")
    return Images(flat, labels)
