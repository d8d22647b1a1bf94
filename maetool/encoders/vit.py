"""The plain vision transformer, which drops the removed patches or puts a mask token in their place."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maetool.annotations import Count, FromZero, Positive, Size
from maetool.errors import UsageError
from maetool.layers import Init, PatchEmbed, initialise
from maetool.layers.attention import QkvBias
from maetool.layers.drop_path import DropPathRate
from maetool.layers.norm import FinalNorm, NormKind
from maetool.layers.positions import PosEmbed, add_positions, positions_of, rope_of, tables_of, with_positions
from maetool.layers.projection import projection_of
from maetool.ops.geometry import grid_of, rank_of, to_size
from maetool.ops.patches import with_prefix_ids
from maetool.ops.rotary import Rope
from maetool.registry import ENCODERS
from maetool.structures import Layout, MaskPlan

from .facts import SeesBlank, check_choice, check_images, check_plan, ids_to_embed, layer_in_blocks, small_vit
from .trunk import TAKES, Trunk


@ENCODERS.register_module()
class VisionTransformer(Trunk):
    """ViT with timm's attribute names, so that its weights load in timm's `VisionTransformer` as they are.

    It owns the facts that the other parts need: patch size, channels, grid and width. Images have 1, 2 or 3 axes, as
    many as `patch_size` or `img_size` has: series, pictures, clips and volumes.

    Args:
        img_size: (H, W), or one number for all axes: the size that is trained on. Other sizes work too.
        patch_size: (ph, pw), or one number; (2, 16, 16) for tubes of two frames.
        in_chans: C.
        embed_dim: D.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.
        drop_path_rate: drop path of the last block; it rises linearly from 0; or of the first and of the last one.
        pos_embed: "sincos", fixed; "sincos_rows", the same with the row first (CAE), or "stretched" (Latent MIM);
            "learned"; "flat", fixed, of the flat index; "separable", learned apart for the first axis and the others;
            "rotary" or "rotary_box"; or "none". See
            `maetool.layers.positions.add_positions`.
        sees: "visible", removed patches are dropped (MAE); "all", a learned mask token takes their place before the
            position is added (BEiT, MaskFeat, SimMIM); or "blank", it takes the place of those that the plan leaves
            blank, and the others are dropped (MAGE).
        layer_scale: where learned factors of the channels of each branch begin; None, there are none.
        final_norm: normalise the tokens of the last block; "fixed", by a norm without weights; leave it out for
            decoders that read the blocks' raw tokens.
        class_token: begin with a class token.
        num_registers: further learned tokens after it.
        qkv_bias: of queries, keys and values: True, False, or "qv", none of keys (BEiT, VideoMAE).
        qk_norm: normalise the queries and keys of each head.
        norm_layer: "layer", or "rms", norms without mean and bias; "rms_1e-5" adds 1e-5 to the mean square.
        pre_norm: normalise what enters the first block, as BERT and MAGE do.
        bias: of the linear maps in the blocks; queries, keys and values have `qkv_bias`.
        projection: widths of linear maps that follow the final norm, each with a layer norm after it and a GELU before
            the next, and back to D; only where a plan hides something, so that features come without it (Latent MIM).
        init: how weights begin: as those of "mae", or of "beit" (I-JEPA too); see `maetool.layers.initialise`.

    Attributes:
        stride: pixels of a token along each axis; here the patch.

    Raises:
        UsageError: sizes that do not divide, or a choice that there is not.
    """

    def __init__(
        self,
        img_size: Size = 224,
        patch_size: Size = 16,
        in_chans: Count = 3,
        embed_dim: Count = 768,
        depth: Count = 12,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: DropPathRate = 0.0,
        pos_embed: PosEmbed = "sincos",
        sees: SeesBlank = "visible",
        layer_scale: float | None = None,
        final_norm: FinalNorm = True,
        class_token: bool = True,
        num_registers: FromZero = 0,
        qkv_bias: QkvBias = True,
        qk_norm: bool = False,
        norm_layer: NormKind = "layer",
        pre_norm: bool = False,
        bias: bool = True,
        projection: Sequence[Count] | None = None,
        init: Init = "mae",
    ) -> None:
        super().__init__()
        rank = rank_of(patch_size, img_size)
        check_choice("sees", sees, self.can_see)
        self.sees = sees
        self.img_size, self.patch_size = to_size(img_size, "img_size", rank), to_size(patch_size, "patch_size", rank)
        self.grid, self.stride = grid_of(self.img_size, self.patch_size), self.patch_size
        self.in_chans = in_chans
        self.patch_embed = PatchEmbed(self.patch_size, in_chans, embed_dim)
        self._add_prefix(embed_dim, class_token, num_registers)
        add_positions(self, pos_embed, embed_dim, self.grid, self.num_prefix_tokens, frozen=True)
        options = (layer_scale, qkv_bias, qk_norm, norm_layer, pre_norm, final_norm, bias)
        self._add_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate, *options)
        self._add_projection(projection)
        self._rope(self.grid, None, None)  # refuses heads that are too narrow
        initialise(self, init)

    def forward(
        self, images: Tensor, plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return tokens (B, T + V, D), the prefix first: of what enters, or (B, T + L, D) if it sees all.

        Args:
            images: (B, C, *size), normalised.
            plan: what is visible; None hides nothing, and the tokens equal timm's `forward_features`.
            layers: return a list instead, the raw tokens of these layers; see `maetool.layers.run_blocks`.

        Raises:
            UsageError: another number of channels, a size that does not divide, or a plan for another grid or with
                places that are left blank, which only `sees="blank"` and "all" take.
        """
        x, keep, rope = self._embed(images, plan)
        return self._projected(self._run(x, layers, keep, rope), plan, layers)

    def _embed(self, images: Tensor, plan: MaskPlan | None) -> tuple[Tensor, Tensor | None, Rope | None]:
        """Return what enters the first block (B, T + V, D), which patches are no padding, and rotary positions."""
        grid = self.grid_of(images)
        table = positions_of(self, grid, self.num_prefix_tokens)
        prefix, cells = (None, None) if table is None else table.tensor_split([self.num_prefix_tokens], dim=1)
        if plan is None:
            x = with_positions(self, self.patch_embed(images), cells)  # (B, L, D)
        else:
            check_plan(plan, grid, TAKES[self.sees])
            x = self._see(images, plan, cells)
        keep = None if plan is None or self.sees == "all" else plan.keep_valid
        return self._enter(x, prefix), keep, self._rope(grid, plan, images.device)

    def _add_projection(self, widths: Sequence[int] | None) -> None:
        self.pretraining_only = () if widths is None else ("projection",)
        self.projection = None if widths is None else projection_of(self.embed_dim, widths)

    def _projected(self, tokens: Any, plan: MaskPlan | None, layers: Sequence[int] | None) -> Any:
        if self.projection is None or plan is None:
            return tokens
        if layers is not None:
            raise UsageError(
                f"A decoder reads the layers {list(layers)}, but the encoder has a projection after its last one: use "
                "decoders without layers, or set encoder.projection=None."
            )
        return self.projection(tokens)

    def _see(self, images: Tensor, plan: MaskPlan, cells: Tensor | None) -> Tensor:
        """Return the tokens (B, V, D) of what enters, or (B, L, D), with their positions `cells` (1, L, D)."""
        # The removed patches are never embedded.
        x = self._place_masks(self.patch_embed(images, ids_to_embed(plan)), plan)  # (B, V, D)
        if self.sees == "all":
            return with_positions(self, plan.restore(x, self.mask_token), cells)  # (B, L, D)
        return with_positions(self, x, None if cells is None else functional.embedding(plan.ids_keep, cells[0]))

    def _rope(self, grid: tuple[int, ...], plan: MaskPlan | None, device: torch.device | None) -> Rope | None:
        some = plan is not None and self.sees != "all"
        hidden = plan.mask if plan is not None and some else None
        rope = rope_of(self, grid, self.head_dim, self.num_prefix_tokens, hidden, device)
        return rope.take(with_prefix_ids(plan.ids_keep, self.num_prefix_tokens)) if rope and plan and some else rope

    def tokens(self, images: Tensor) -> Tensor:
        """Return the embedding (B, L, D) of every patch of `images` (B, C, *size), before positions."""
        self.grid_of(images)
        return self.patch_embed(images)

    def attention(self, images: Tensor, layers: Sequence[int] | None = None) -> Any:
        """Return the attention of the last block in whole images, (B, heads, T + L, T + L), queries in rows.

        Args:
            images: (B, C, *size), normalised.
            layers: return a pair instead, with the raw tokens of these layers, a list, of the same pass.
        """
        return self._attention(*self._embed(images, None), layers)

    def grid_of(self, images: Tensor) -> tuple[int, ...]:
        """Return the grid of images (B, C, *size), such as (h, w).

        Raises:
            UsageError: another number of axes or channels, or a size that does not divide.
        """
        check_images(images, self.in_chans, len(self.patch_size))
        return grid_of(images.shape[2:], self.patch_size)

    def layout_of(self, images: Tensor) -> Layout:
        """Return where the tokens of images (B, C, *size) lie; see `grid_of`."""
        return Layout.of(self.grid_of(images))

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`: 0 before the blocks, i + 1 in `blocks.i`, -1 after, with the head.

        Source: `util/lr_decay.py` of facebookresearch/mae.
        """
        before = {"cls_token", "reg_token", "mask_token", "patch_embed", "norm_pre", "pos_embed", *tables_of(self)}
        return layer_in_blocks(name, sorted(before), after=("norm", "projection"))

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay, beside biases and norms.

        With mask tokens, positions and class token: the lists of BEiT and SimMIM, which decay the mask token. MAE's
        pretraining decays the class token; its positions are fixed.
        """
        tokens = {"cls_token", "reg_token"} & {name for name, _ in self.named_parameters(recurse=False)}
        return tables_of(self) | tokens if self.sees == "all" else tables_of(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        widths = arguments.get("projection")
        return small_vit(arguments) | ({"projection": [32] * len(widths)} if widths else {})
