"""The VampPrior: a mixture of the guide's own posteriors (Tomczak & Welling 2018, 1705.07120)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import to_unit
from ..errors import InvalidInput
from ..nets import evaluating
from ..program import check_images
from .base import Prior, check_components
from .component_mixture import ComponentMixture

# sigmoid(4 v) has slope 1 in the middle, as the paper's hardtanh has, so that learning rates carry over.
SLOPE = 4.0
FIRST_SPREAD = 0.25
# Images that pseudo-inputs start from are kept this far from black and white, where the sigmoid has no slope left.
MARGIN = 0.05
JITTER = 0.01


class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z | u_k), q the guide's unrefined family and u_k learnable pseudo-inputs.

    The prior is a part of the program that is made from the guide: it learns the guide by ``guide.bind(program)`` and
    calls ``guide.family(guide.encode(u))``, never ``posterior``, which may refine or draw. p(z), and p(x) with it, is a
    function of the guide's encoder: save and load the pair together.

    Pseudo-inputs are images u = (levels - 1) sigmoid(4 v) of free parameters v. The paper's hardtanh has no gradient
    outside its range; this has one everywhere. Where the data are real (``levels`` 0), u = v.

    Train with a warm-up of the KL term, as the paper does, best after some epochs without it: p(z) follows any change
    of z's scale, so that nothing but the decoder keeps an early guide from drowning its code in noise, at a KL of 0.

    Every call encodes K images, and a density costs M K of the family's. Diagonal normals take it by matrix products. A
    family whose densities are sequential (``InverseAutoregressive``: L passes of its nets over M K rows) works and is
    slow: use fewer components.

    Args:
        latent_dim: L, the length of z.
        data_dim: D, the number of pixels.
        components: K; the paper has 500.
        levels: number of values of a pixel; 0 for real-valued ones.

    Raises:
        InvalidInput: for fewer than 1 component or pixel, or 1 level.
    """

    needs_guide = True

    def __init__(self, latent_dim: int, data_dim: int, components: int = 500, levels: int = 2) -> None:
        super().__init__(latent_dim)
        if data_dim < 1:
            raise InvalidInput("data_dim", data_dim, "an image has at least one pixel", "give D >= 1")
        if levels == 1 or levels < 0:
            raise InvalidInput("levels", levels, "a pixel takes at least two values", "give 2 for binary, 0 for real")
        self.data_dim, self.levels = int(data_dim), int(levels)
        first = torch.randn(check_components(components), self.data_dim)
        self.free = nn.Parameter(first * FIRST_SPREAD if levels else first)
        # In a tuple, outside the module tree, as the guide keeps its program.
        self._guide: tuple[nn.Module, ...] = ()
        self._held = False

    @property
    def pseudo_inputs(self) -> Tensor:
        """u: (K, D), in the units of x."""
        return (self.levels - 1) * torch.sigmoid(SLOPE * self.free) if self.levels else self.free

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Start from training images, drawn at random without repeats as long as there are enough.

        They are moved by a little noise, so that repeated ones are not equal for ever.

        Args:
            images: x (N, D), in the units of the program.

        Raises:
            InvalidInput: for none, another number of pixels, or values outside 0..levels-1.
        """
        check_images(images, self.data_dim, self.levels, "density")
        if not len(images):
            raise InvalidInput("images", tuple(images.shape), "there are none", "give training images")
        if self.levels and (images.min() < 0 or images.max() > self.levels - 1):
            outside = float(images.min() if images.min() < 0 else images.max())
            raise InvalidInput(
                "images", outside, f"pixels take values 0..{self.levels - 1}", "give them in those units"
            )
        rounds = -(-len(self.free) // len(images))
        chosen = torch.cat([torch.randperm(len(images)) for _ in range(rounds)])[: len(self.free)]
        start = images[chosen.to(images.device)].to(self.free)
        if self.levels:
            start = to_unit(start, self.levels).clamp(MARGIN, 1 - MARGIN).logit() / SLOPE
        self.free.copy_(start + JITTER * torch.randn(self.free.shape).to(self.free))

    def bind_guide(self, guide: nn.Module) -> None:
        """Make the prior from this guide.

        Raises:
            InvalidInput: for a guide without ``encode`` or ``family``, one for other images or latents, or another
                guide than the one bound before, unless its weights are equal: p(x) would change without a word.
        """
        if self._held:
            return
        name = type(guide).__name__
        missing = [part for part in ("encode", "family") if not callable(getattr(guide, part, None))]
        if missing:
            problem = f"has no {' and no '.join(missing)}, from which the VampPrior is made"
            raise InvalidInput("guide", name, problem, "take one with both, such as DiagonalNormal, or another prior")
        for size, own in (("data_dim", self.data_dim), ("latent_dim", self.latent_dim)):
            theirs = getattr(guide, size, own)
            if theirs != own:
                raise InvalidInput("guide", name, f"has {size} {theirs}, the prior {own}", "build both with the same")
        if self._guide and not same_weights(guide, self._guide[0]):
            problem = "would change p(z), which is made from the guide that was bound before"
            remedy = "to score with it call hold() on the prior first; to train with it build the program anew"
            raise InvalidInput("guide", name, problem, remedy)
        self._guide = (guide,)

    def hold(self) -> None:
        """Keep p(z) made from the guide that is bound now: guides bound later score the program and do not change it.

        Raises:
            InvalidInput: if none is bound.
        """
        self.guide()
        self._held = True

    def guide(self) -> nn.Module:
        """The guide that p(z) is made from.

        Raises:
            InvalidInput: before one is bound.
        """
        if not self._guide:
            problem = "is made from a guide, and none is bound"
            raise InvalidInput("prior", type(self).__name__, problem, "call guide.bind(program)")
        return self._guide[0]

    def forward(self) -> TorchDistribution:
        """The mixture of K posteriors: batch shape (), event shape (L,).

        In evaluation mode the guide is evaluated too, whatever its own mode: dropout there would make p(z) random.

        Raises:
            InvalidInput: before a guide is bound.
        """
        guide = self.guide()
        with nullcontext() if self.training else evaluating(guide):
            parameters = guide.encode(self.pseudo_inputs)
        return ComponentMixture(self.free.new_zeros(len(self.free)), lambda chosen: guide.family(parameters[chosen]))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two guides are of one class and have equal parameters and buffers."""
    if one is other:
        return True
    mine, theirs = one.state_dict(), other.state_dict()
    if type(one) is not type(other) or mine.keys() != theirs.keys():
        return False
    pairs = [(mine[key], theirs[key]) for key in mine if isinstance(mine[key], Tensor)]
    return all(a.shape == b.shape and torch.equal(a, b.to(a)) for a, b in pairs)
