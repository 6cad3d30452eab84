"""Orderings: the sequence in which an autoregressive program generates the pixels of an image.

Two integers belong to every pixel and are easily mixed up: ``sequence[t]`` is the pixel generated t-th, ``rank[i]`` is
the step at which pixel i is generated. They are inverse permutations, equal only for self-inverse orders such as raster
and reversed, which is why tests use a cyclic shift.
"""

from .base import Ordering, image_shape, num_pixels
from .from_data import by_entropy, by_mutual_information, chow_liu_tree, entropy, mutual_information
from .geometric import backwards, columns, hilbert, random, raster, shifted, snake, spiral
from .names import DATA_ORDERINGS, ORDERINGS, as_ordering, from_images, is_from_images
from .search import Search, local_search, logistic_nll, optimal

__all__ = [
    "DATA_ORDERINGS",
    "ORDERINGS",
    "Ordering",
    "Search",
    "as_ordering",
    "backwards",
    "by_entropy",
    "by_mutual_information",
    "chow_liu_tree",
    "columns",
    "entropy",
    "from_images",
    "hilbert",
    "image_shape",
    "is_from_images",
    "local_search",
    "logistic_nll",
    "mutual_information",
    "num_pixels",
    "optimal",
    "random",
    "raster",
    "shifted",
    "snake",
    "spiral",
]
