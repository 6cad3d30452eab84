"""The layers of traced programs as stacks of boxes, and which of them stand on one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.diagrams import Traced

FAMILIES = {
    "linear": (("Linear",), "#bcd4ea"),
    "convolution": (("Conv",), "#bfe0c8"),
    "recurrent": (("LSTM", "GRU", "RNN"), "#e6cfe4"),
    "attention": (("Attention",), "#f3d7b4"),
    "normalization": (("Norm",), "#efe7b0"),
    "activation": (
        ("ReLU", "ELU", "Tanh", "Sigmoid", "Softplus", "SiLU", "GELU", "Softmax", "GLU"),
        "#eceef1",
    ),
    "dropout": (("Dropout",), "#eceef1"),
}
SLIM = ("activation", "dropout")  # layers without sizes of their own
OTHER = "#e3ddd3"
_TABLE = "Parameter"  # parameters that no tensor passes through: a prior's means, the scale of all pixels
_ENCODER = "autoencoder.encoder."  # of an autoencoder that became a density: the one encoder that lies in a program
_RESTRICTED = ("Masked", "Causal")  # the same layer with connections removed, so that no pixel sees a later one


@dataclass(frozen=True)
class Box:
    """One line of a stack: a layer, or a variable (input, code, output)."""

    label: str
    note: str
    family: str
    restricted: bool
    part: str
    sizes: tuple[str, str] = ("", "")

    @property
    def is_variable(self) -> bool:
        """Whether it is an input, a code or an output and no layer."""
        return self.family == "variable"


def family_of(kind: str) -> str:
    """The family of a layer type: ``MaskedLinear`` and ``Linear`` are both ``linear``."""
    for family, (words, _) in FAMILIES.items():
        if any(word in kind for word in words):
            return family
    return "other"


def shared_parts(programs: Sequence[Traced]) -> list[str]:
    """A sentence per layer family that more than one program uses: how many of it each has, and where it is masked."""
    counts: dict[str, dict[str, list[str]]] = {}
    for program in programs:
        for layer in [*_layers(program.structure.get("guide")), *_layers(program.structure["program"])]:
            counts.setdefault(family_of(layer["type"]), {}).setdefault(_users(program), []).append(layer["type"])
    sentences = []
    for family, users in counts.items():
        if len(users) < 2:
            continue
        parts = []
        for name, kinds in users.items():
            masked = sum(kind.startswith(_RESTRICTED) for kind in kinds)
            parts.append(f"{name} {len(kinds)}" + (f" ({masked} masked)" if masked else ""))
        sentences.append(f"{family} layers: {', '.join(parts)}")
    return sentences


def _users(program: Traced) -> str:
    return program.name if len(program.names) == 1 else f"each of {program.name}:"


def align(stacks: Sequence[Sequence[Box]]) -> list[list[int]]:
    """A row for every box: inputs, codes and outputs on one line each, layers of one family where it can be had.

    Stacks with a code set the rows: encoders hang from the input, decoders stand on the output. A stack without one
    takes, in order, the rows that match most of its layers by family.
    """
    coded = [stack for stack in stacks if any(box.part == "code" for box in stack)]
    encoder = max((sum(box.part == "encoder" for box in stack) for stack in coded), default=0)
    decoder = max((sum(box.part == "decoder" for box in stack) for stack in coded), default=0)
    plain = max((len(stack) for stack in stacks if stack not in coded), default=0)
    decoder += max(0, plain - (encoder + decoder + 3))
    last = encoder + decoder + 2
    if not coded:
        last = plain - 1
    template: dict[int, Box] = {}
    rows = []
    for stack in stacks:
        rows.append(_coded_rows(stack, encoder, last) if stack in coded else [])
        for box, row in zip(stack, rows[-1], strict=False):
            template.setdefault(row, box)
    return [places or _matching_rows(stack, last, template) for stack, places in zip(stacks, rows, strict=True)]


def _coded_rows(stack: Sequence[Box], encoder: int, last: int) -> list[int]:
    """Input 0, encoder from 1 on, code below the longest encoder, decoder just above the output."""
    decoders = sum(box.part == "decoder" for box in stack)
    following = {"encoder": 1, "decoder": last - decoders}
    places = []
    for box in stack:
        if box.part in following:
            places.append(following[box.part])
            following[box.part] += 1
        else:
            places.append({"input": 0, "code": encoder + 1, "output": last}[box.part])
    return places


def _matching_rows(stack: Sequence[Box], last: int, template: Mapping[int, Box]) -> list[int]:
    """Increasing rows 1..last-1 for the layers of a stack with most family matches, by dynamic programming."""
    layers = stack[1:-1]
    best: list[dict[int, tuple[int, list[int]]]] = [{0: (0, [])}]
    for number, box in enumerate(layers):
        reachable: dict[int, tuple[int, list[int]]] = {}
        for row in range(number + 1, last - (len(layers) - number) + 1):
            gain = _likeness(template.get(row), box)
            options = [(score + gain, path) for at, (score, path) in best[-1].items() if at < row]
            score, path = max(options, key=lambda option: option[0])
            reachable[row] = (score, [*path, row])
        best.append(reachable)
    _, path = max(best[-1].values(), key=lambda option: option[0])
    return [0, *path, last]


def _likeness(left: Box | None, right: Box) -> int:
    """How alike two layers are: their family first, then each of their sizes."""
    if left is None or left.family != right.family:
        return 0
    return 3 + sum(here == there for here, there in zip(left.sizes, right.sizes, strict=True))


def _layers(part: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [layer for layer in (part or {}).get("layers", []) if layer["type"] != _TABLE]


def tables_of(program: Traced) -> list[str]:
    """The parameters that nothing passes through, as lines ``prior.means 8x16``, the program's before the guide's."""
    lines = []
    for part in ("program", "guide"):
        for layer in (program.structure.get(part) or {}).get("layers", []):
            if layer["type"] == _TABLE:
                size = "\N{MULTIPLICATION SIGN}".join(str(length) for length in layer["output"])
                lines.append(f"{layer['path']} {size}".strip())
    return lines


def stack_of(program: Traced) -> list[Box]:
    """Input, layers, code and output of one program, top to bottom."""
    own, guide = _layers(program.structure["program"]), _layers(program.structure.get("guide"))
    size = program.shape[0] * program.shape[1] * program.shape[2]
    boxes = [_variable("$x$", f"{size}", "input")]
    if program.kind == "none":
        encoder = [layer for layer in own if layer["path"].startswith("encoder")]
        decoder = [layer for layer in own if layer not in encoder]
        code = _variable("code", str(_width(encoder)), "code")
        output = _variable(r"$\hat{x}$", "no distribution", "output")
    elif program.latents:
        encoder = [*(layer for layer in own if layer["path"].startswith(_ENCODER)), *guide]
        decoder = [layer for layer in own if layer not in encoder]
        names = ", ".join(site["name"] for site in program.latents)
        sizes = ", ".join(str(length) for site in program.latents for length in site["shape"])
        code = _variable(f"${names}$", sizes, "code")
        output = _variable(f"$p(x\\,|\\,{names})$", _likelihood(program), "output")
    else:
        inside = [_box(layer, "chain") for layer in own if not _is_link(layer)]
        chain = program.kind == "autoregressive"
        formula = r"$p(x_t\,|\,x_{<t})$" if chain else "$p(x)$"
        return [*boxes, *inside, _variable(formula, _likelihood(program), "output")]
    boxes += [*(_box(layer, "encoder") for layer in encoder), code]
    return [*boxes, *(_box(layer, "decoder") for layer in decoder), output]


def _is_link(layer: Mapping[str, Any]) -> bool:
    """Whether a layer leads from the input straight to the output, beside the others."""
    return layer["path"].rpartition(".")[2] == "direct"


def links_of(program: Traced) -> list[Box]:
    """The layers that lead from the input straight to the output."""
    return [_box(layer, "link") for layer in _layers(program.structure["program"]) if _is_link(layer)]


def _likelihood(program: Traced) -> str:
    return next((str(site["distribution"]) for site in program.sites if site["observed"]), "")


def _width(layers: Sequence[Mapping[str, Any]]) -> int | str:
    return layers[-1]["output"][-1] if layers else ""


def _variable(label: str, note: str, part: str) -> Box:
    return Box(label, note, "variable", False, part)


def _box(layer: Mapping[str, Any], part: str) -> Box:
    sizes = ["\N{MULTIPLICATION SIGN}".join(str(n) for n in layer[end]) for end in ("input", "output")]
    kind = str(layer["type"])
    family = family_of(kind)
    size = f" {sizes[0]}\N{RIGHTWARDS ARROW}{sizes[1]}"
    if sizes[0] == sizes[1] and family in (*SLIM, "normalization"):
        size = ""  # they never change it
    return Box(f"{kind}{size}", "", family, kind.startswith(_RESTRICTED), part, (sizes[0], sizes[1]))
