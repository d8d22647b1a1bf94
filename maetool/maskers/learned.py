"""Maskers that read the encoder's tokens."""

from dataclasses import replace
from math import log, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.layers import Block, init_as_mae
from maetool.ops.geometry import format_size, rank_of, to_size
from maetool.ops.random import KeyedRandom, weighted_order
from maetool.registry import MASKERS
from maetool.structures import Layout, MaskPlan

from .base import Masker

_LEAST = log(torch.finfo(torch.float32).eps)


@MASKERS.register_module()
class AdaptiveMasker(Masker):
    """Draws the visible patches from a distribution that it learns: those of high reconstruction error become likelier.

    One block and a linear map give the logits of all patches from their tokens. The draw has no gradient; what teaches
    the network is the policy gradient of `loss`. Source: AdaMAE (wgcban/adamae, `models/pretrain/vit.py`), without its
    dropout.

    Args:
        mask_ratio, predict_ratio: see `Masker`.
        encoder_dim: D, of the tokens.
        grid: of the patches, whose learned positions are added to the tokens.
        num_heads: of the block.

    Raises:
        UsageError: a width that does not divide into the heads.
    """

    needs = ("tokens",)
    takes_padding = False

    def __init__(
        self,
        encoder_dim: int,
        grid: Any,
        mask_ratio: float = 0.95,
        predict_ratio: float | None = None,
        num_heads: Count = 8,
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        if encoder_dim % num_heads:
            raise UsageError(f"The encoder is {encoder_dim} wide, which does not divide into {num_heads} heads.")
        self.grid, self.encoder_dim = to_size(grid, "grid", rank_of(grid)), encoder_dim
        self.pos_embed = nn.Parameter(torch.zeros(1, prod(self.grid), encoder_dim))
        self.block = Block(encoder_dim, num_heads, qkv_bias=False)
        for norm in self.block.modules():
            if isinstance(norm, nn.LayerNorm):
                norm.eps = 1e-5  # PyTorch's, as published
        self.logits = nn.Linear(encoder_dim, 1)
        init_as_mae(self)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: positions."""
        return {"pos_embed"}

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan of a draw, with the `log_probs` (B, L) of the patches in `aux`.

        Raises:
            UsageError: another grid than that of the positions.
        """
        if layout.grid != self.grid:
            raise UsageError(
                f"AdaptiveMasker has positions of a grid of {format_size(self.grid)}, but the patches lie on "
                f"{layout}: train it "
                "on one size."
            )
        logits = self.logits(self.block(clues["tokens"] + self.pos_embed))[..., 0].float().nan_to_num()  # (B, L)
        log_probs = functional.log_softmax(logits, dim=1)
        scores = weighted_order(rng, log_probs.detach())
        plan = MaskPlan.from_scores(scores, self.num_keep(layout.grid), layout, self.num_predict(layout.grid), weight)
        # The published loss takes no probability for smaller than float32 tells from 0.
        return replace(plan, aux={"log_probs": log_probs.clamp(min=_LEAST)})

    def loss(self, plan: MaskPlan, errors: Tensor) -> Tensor:
        """Return the policy gradient's loss, a scalar: minus the mean of log p times the error of a removed patch.

        Args:
            plan: of this masker; of a mask that was given, which tells nothing of its draws, the loss is 0.
            errors: (B, M), of the predicted patches, without gradient.

        Raises:
            UsageError: it is trained, but the mask was given.
        """
        if "log_probs" not in plan.aux:
            if self.training:
                raise UsageError(
                    "AdaptiveMasker learns from the masks that it draws, but the masks are given: leave `mask` out of "
                    "the samples, or use another masker."
                )
            return errors.new_zeros(())
        return -plan.average(plan.aux["log_probs"].gather(1, plan.ids_predict) * errors)


@MASKERS.register_module()
class ChangeMasker(Masker):
    """Shows and predicts only the patches that changed since the slice before: the others are left out altogether.

    How much a patch changed is the distance of its token, before positions, from that of the same place in the slice
    before; the first slice has the numbers of the second. Source: EVEREST (sunilhoho/EVEREST, `modeling_pretrain.py`).

    Args:
        mask_ratio: share of the patches that is not visible.
        redundancy: share of the patches that changed least, which are neither seen nor predicted.

    Raises:
        UsageError: a redundancy that leaves nothing to predict, or a grid of one slice.
    """

    needs = ("tokens",)
    takes_padding = False

    def __init__(self, mask_ratio: float = 0.9, redundancy: float = 0.7) -> None:
        super().__init__(mask_ratio)
        if not 0 <= redundancy < mask_ratio:
            raise UsageError(f"redundancy is {redundancy!r}, but must be from 0 to below mask_ratio={mask_ratio}.")
        self.redundancy = redundancy

    def num_predict(self, grid: Any) -> int:
        """Return how many patches are predicted: those that changed and are not visible."""
        return int(prod(grid) * (1 - self.redundancy) + 1e-6) - self.num_keep(grid)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **clues: Tensor) -> Tensor:
        """Return scores (B, L): the patches to see first, the redundant ones between, those to predict last.

        Raises:
            UsageError: a grid of one slice, which has no change.
        """
        if grid[0] < 2:
            raise UsageError(f"ChangeMasker compares slices, but a grid of {format_size(grid)} has one: give clips.")
        slices = clues["tokens"].detach().unflatten(1, (grid[0], -1))  # (B, t, places, D)
        change = (slices[:, 1:] - slices[:, :-1]).float().norm(dim=-1)  # (B, t - 1, places)
        change = torch.cat([change[:, :1], change], dim=1).flatten(1)  # (B, L)
        rank = change.argsort(dim=1, descending=True, stable=True)
        informative = self.num_keep(grid) + self.num_predict(grid)
        noise = rng.order(informative).argsort(dim=1).argsort(dim=1)  # (B, informative), a random order of them
        place = torch.where(noise < self.num_keep(grid), noise, noise + 2 * prod(grid)).float()
        scores = torch.full_like(change, float(prod(grid)))
        return scores.scatter(1, rank[:, :informative], place)
