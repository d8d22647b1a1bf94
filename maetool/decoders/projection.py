"""Projections of tokens as decoder."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.layers.projector import Projector
from maetool.layers.prototypes import Lengths
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class ProjectionDecoder(nn.Module):
    """A projector of the image as one, or of each patch of an encoder that sees mask tokens.

    Source: MSN's head on the class token (facebookresearch/msn); DINO's; iBOT's, shared by class token and patches.

    Args:
        encoder_dim: D.
        out_dim: P.
        num_prefix_tokens: T.
        of: what is projected: the "image", or the "patches".
        pool: the image is its "class" token, or the "mean" of its visible patches.
        hidden_dim, depth, norm, bottleneck, lengths: see `maetool.layers.projector.Projector`.
        share: use the projector of the model's own decoder, which must be one of these, instead of another one.
        main_decoder: the model's own decoder; the model hands it over.
        has_class_token: whether the prefix begins with a class token; the encoder's.

    Attributes:
        predicts: "image"; None, of patches, any of them.

    Raises:
        UsageError: an unknown choice, no class token to project, or no projector to share.
    """

    reads: tuple[str, ...] = ("visible", "all", "blank")
    predicts: str | None = "image"

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_prefix_tokens: int = 1,
        of: Literal["image", "patches"] = "image",
        pool: Literal["class", "mean"] = "class",
        hidden_dim: Count = 2048,
        depth: Count = 3,
        norm: Literal["none", "batch"] = "none",
        bottleneck: Count | None = None,
        lengths: Lengths = "unit",
        share: bool = False,
        main_decoder: Any = None,
        has_class_token: bool = True,
    ) -> None:
        super().__init__()
        if of not in ("image", "patches") or pool not in ("class", "mean"):
            raise UsageError(f'of is {of!r} and pool {pool!r}, but must be "image" or "patches", "class" or "mean".')
        if of == "image" and pool == "class" and not (num_prefix_tokens and has_class_token):
            raise UsageError('The encoder has no class token to project: use pool="mean".')
        if share and not isinstance(getattr(main_decoder, "projector", None), nn.Module):
            raise UsageError("share is True, but the model's own decoder has no projector: use a ProjectionDecoder.")
        if of == "patches":
            self.reads, self.predicts = ("all",), None
        self.pool, self.num_prefix_tokens = pool, num_prefix_tokens
        own = (encoder_dim, out_dim, hidden_dim, depth, norm, bottleneck, lengths)
        self.projector = main_decoder.projector if share else Projector(*own)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {name: 16 for name in ("hidden_dim", "bottleneck") if arguments[name] is not None}

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return the projections (B, 1, P) of images, or those of patches (B, M, P) at `plan.ids_predict`.

        Args:
            latent: tokens (B, T + V, D), or (B, T + L, D) for patches, the prefix first.
            plan: of the batch.
        """
        if self.predicts != "image":
            return self.projector(plan.take_predicted(latent[:, self.num_prefix_tokens :]))
        return self.projector(latent[:, :1] if self.pool == "class" else self._mean(latent, plan))

    def _mean(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        patches = latent[:, self.num_prefix_tokens :]  # (B, V, D), or (B, L, D)
        if plan.keep_valid is None or patches.shape[1] != plan.num_keep:
            return patches.mean(dim=1, keepdim=True)
        share = plan.keep_valid / plan.keep_valid.sum(dim=1, keepdim=True)  # (B, V)
        return torch.einsum("bv,bvd->bd", share.to(patches.dtype), patches)[:, None]
