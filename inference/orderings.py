"""Orderings that a name asks to be found from the images: ``--recipe.ordering by_entropy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppl_models.ordering import from_images, is_from_images

from .data import ImageData


def with_ordering(arguments: Mapping[str, Any], data: ImageData) -> tuple[dict[str, Any], str | None]:
    """A recipe's arguments with the name of such an ordering replaced by the pixel indices that it finds, and the name.

    It is found from the training images; ``optimal`` and ``local_search`` fit to them and score on the validation
    images. The test images are never read. Other arguments are left as they are, and the name is ``None``.

    Args:
        arguments: of a recipe; ``ordering`` may be a name of ``ppl_models.ordering.DATA_ORDERINGS``.
        data: the data set.

    Raises:
        InvalidInput: if the name has an option that it does not know, or does not take such images.
    """
    name = arguments.get("ordering")
    if not is_from_images(name):
        return dict(arguments), None
    found = from_images(name, data.split("train"), data.split("valid"), data.levels)
    return {**arguments, "ordering": list(found.sequence)}, name
