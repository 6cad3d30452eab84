"""Where the tensors live."""

from __future__ import annotations

import torch

from ppl_models.errors import InvalidInput


def resolve_device(name: str) -> str:
    """``auto``, ``cpu`` or ``cuda`` as ``cpu`` or ``cuda``.

    Raises:
        InvalidInput: for another name, or ``cuda`` where there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InvalidInput("--device", name, "unknown device", "use auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InvalidInput("--device", name, "this machine has no CUDA device", "use --device cpu or auto")
    return "cuda" if name != "cpu" and available else "cpu"
