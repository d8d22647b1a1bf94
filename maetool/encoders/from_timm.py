"""Any plain ViT of timm as encoder."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import timm
import torch
from timm.layers.drop import DropPath
from timm.layers.patch_embed import PatchEmbed
from timm.models.beit import Attention as BeitAttention
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.layers import embed_patches, run_blocks
from maetool.layers.drop_path import replace_drop_path
from maetool.ops.geometry import grid_of, to_size
from maetool.ops.patches import take_tokens
from maetool.registry import ENCODERS
from maetool.structures import MaskPlan

from .facts import Sees, check_choice, check_images, check_plan, check_size, layer_in_blocks, relative_tables
from .watched import attention_in

_PLAIN = (VisionTransformer, Beit, Eva)
_MODULES = {"timm.models.deit", *(cls.__module__ for cls in _PLAIN)}
_FETCHING = ("checkpoint_path", "cache_dir", "model_name", "default_cfg", "hf_hub_id", "url", "file")
# What timm's models of any image size have in place of a list of patches; an encoder here has one size.
_ANY_SIZE = ("dynamic_img_size", "dynamic_img_pad")
Blocks = list[Callable[[Tensor], Tensor]]


@ENCODERS.register_module()
class TimmEncoder(nn.Module):
    """A plain ViT of timm, by its name, in which removed patches are dropped or replaced by a mask token.

    Families: vit, deit, deit3, beit, beitv2, eva and what else timm builds of the same classes, with absolute, relative
    or rotary positions. In checkpoints its weights have timm's names; it is initialised as timm does it.

    Args:
        name: timm's, for example "vit_base_patch16_224", without what follows a dot.
        sees: "visible", removed patches are dropped; or "all", a learned mask token takes their place.
        img_size: (H, W), or one number for a square: the only size that it takes.
        patch_size: (ph, pw), or one number; None, as the name says.
        in_chans: C.
        embed_dim: D; None, as the name says. So with the next two.
        depth: number of blocks.
        num_heads: attention heads of a block.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        final_norm: normalise the tokens of the last block.
        options: further arguments of timm's model, such as dict(init_values=0.1); none that says where weights are,
            which would be downloaded while a config is built: they come by `--init`.

    Raises:
        UsageError: an unknown name, a model that is no plain ViT, or arguments that it does not take.
    """

    vit: Any  # timm's classes have no common base with the attributes that are read here
    can_see = ("visible", "all")
    one_size = True  # of the images that it takes
    debug_arguments: ClassVar = {"img_size": (32, 32), "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}

    def __init__(
        self,
        name: str = "vit_base_patch16_224",
        sees: Sees = "visible",
        img_size: Size = 224,
        patch_size: Size | None = None,
        in_chans: Count = 3,
        embed_dim: Count | None = None,
        depth: Count | None = None,
        num_heads: Count | None = None,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.sees, self.img_size = check_choice("sees", sees, self.can_see), to_size(img_size, "img_size")
        arguments: dict[str, Any] = {
            "patch_size": patch_size,
            "embed_dim": embed_dim,
            "depth": depth,
            "num_heads": num_heads,
        }
        arguments = {key: value for key, value in arguments.items() if value is not None}
        arguments |= {"img_size": self.img_size, "in_chans": in_chans, "drop_path_rate": drop_path_rate}
        self.vit = vit = _create(name, {**arguments, **(options or {})})
        self.patch_size = self.stride = tuple(vit.patch_embed.patch_size)
        self.grid = grid_of(self.img_size, self.patch_size)
        self.in_chans, self.embed_dim = in_chans, vit.embed_dim
        self.num_prefix_tokens, self.num_layers = vit.num_prefix_tokens, len(vit.blocks)
        if not final_norm:
            vit.norm = nn.Identity()
        if sees == "all":
            self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dim))
            nn.init.normal_(self.mask_token, std=0.02)
        self._enter = next(enter for cls, enter in _ENTER.items() if isinstance(vit, cls))
        self.register_state_dict_post_hook(_to_timm)
        self.register_load_state_dict_pre_hook(_from_timm)

    @property
    def norm(self) -> nn.Module:
        """What the tokens of the last block pass."""
        return self.vit.norm

    def shared_positions(self) -> Tensor | None:
        """Return the relative positions that all blocks share, (1, heads, T + L, T + L); None if there are none."""
        shared = getattr(self.vit, "rel_pos_bias", None)
        return None if shared is None else _pick(shared(), None)

    def forward(
        self, images: Tensor, plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return tokens (B, T + V, D), the prefix first: of the visible patches, or (B, T + L, D) if it sees all.

        Args:
            images: (B, C, H, W), normalised.
            plan: what is visible; None hides nothing, and the tokens equal timm's `forward_features`.
            layers: return a list instead, the raw tokens of these layers; see `maetool.layers.run_blocks`.

        Raises:
            UsageError: images of another size or number of channels, or a plan for another grid.
        """
        grid = self.grid_of(images)
        if plan is None:
            x, kept = self.vit.patch_embed(images), None  # (B, L, D)
        else:
            check_plan(plan, grid)
            x = embed_patches(self.vit.patch_embed.proj, images, plan.ids_keep, self.patch_size)
            x = self.vit.patch_embed.norm(x)  # (B, V, D)
            # Each timm model adds its positions to whole pictures, in its own way; what is dropped leaves after that.
            x = plan.restore(x, self.mask_token if self.sees == "all" else x.new_zeros(1, 1, 1))  # (B, L, D)
            kept = None if self.sees == "all" else plan.ids_keep
        x, blocks = self._enter(self.vit, x, kept)  # (B, T + V, D)
        return run_blocks(blocks, x, self.norm, layers)

    def tokens(self, images: Tensor) -> Tensor:
        """Return the embedding (B, L, D) of every patch of `images` (B, C, H, W), before positions."""
        self.grid_of(images)
        return self.vit.patch_embed(images)

    def attention(self, images: Tensor, layers: Sequence[int] | None = None) -> Any:
        """Return the attention of the last block in whole images.

        See `VisionTransformer.attention` for `images`, `layers` and the shape.
        """
        x, blocks = self._enter(self.vit, self.tokens(images), None)
        *levels, x = run_blocks(blocks, x, self.norm, [*(layers or []), self.num_layers - 1])
        attention = attention_in(blocks[-1], x)
        return attention if layers is None else (attention, levels)

    def grid_of(self, images: Tensor) -> tuple[int, ...]:
        """Return the grid (h, w) of images (B, C, H, W).

        Raises:
            UsageError: another size or number of channels.
        """
        check_images(images, self.in_chans)
        check_size(images, self.img_size)
        return self.grid

    def relative_windows(self, grid: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the window of each table of relative positions on a grid (h, w): all of it, as BEiT has it."""
        return dict.fromkeys(relative_tables(self.vit), tuple(grid))

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`: 0 before the blocks, i + 1 in `blocks.i`, -1 after, with the head.

        The relative positions that all blocks share learn as fast as the head. Source: `optim_factory.py` of BEiT.
        """
        name = name.removeprefix("vit.")
        after = ("norm", "rel_pos_bias")
        part = name.partition(".")[0]
        return layer_in_blocks(name, () if part in ("blocks", *after) else (part,), after)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay, beside biases and norms: timm's list of positions and tokens.

        BEiT's and SimMIM's code decays the relative positions, so that those of timm's list are left out here. An
        encoder of visible patches decays the class token, as MAE's pretraining does.
        """
        own = {name for name, _ in self.vit.named_parameters()}
        decayed = {*relative_tables(self.vit), *(["cls_token"] if self.sees == "visible" else [])}
        return {f"vit.{name}" for name in (own & self.vit.no_weight_decay()) - decayed}


def _create(name: str, options: Mapping[str, Any]) -> Any:
    if not isinstance(name, str) or not timm.is_model(name):
        near = difflib.get_close_matches(str(name), timm.list_models(), n=3)
        raise UsageError(f"timm has no model called {name!r}; near names: {', '.join(near) or 'none'}.")
    if timm.model_entrypoint(name).__module__ not in _MODULES:
        raise _not_plain(name)
    if fetching := [key for key in options if str(key).startswith("pretrained") or key in _FETCHING]:
        raise UsageError(
            f"TimmEncoder.options has {fetching[0]}, but an encoder is built without weights: leave it out, and pass "
            "the file of the weights with --init."
        )
    if any_size := [key for key in _ANY_SIZE if options.get(key)]:
        raise UsageError(
            f"TimmEncoder.options has {any_size[0]}, but the encoder takes images of one size, img_size: leave it out."
        )
    fixed = {} if timm.model_entrypoint(name).__module__ == Beit.__module__ else dict.fromkeys(_ANY_SIZE, False)
    try:
        vit = timm.create_model(name, num_classes=0, global_pool="", **{**options, **fixed})
    except (TypeError, AssertionError, ValueError) as error:
        raise UsageError(f"timm cannot make {name} with {dict(options)} ({error}): correct these arguments.") from error
    if type(vit) not in _PLAIN or type(vit.patch_embed) is not PatchEmbed:
        raise _not_plain(name)
    replace_drop_path(vit, DropPath)
    for module in vit.modules():
        if isinstance(module, BeitAttention) and module.relative_position_bias_table is not None:
            # The bias of each block enters by the argument for the shared one, which can be that of some patches only.
            attention: Any = module
            attention._get_rel_pos_bias = partial(torch.zeros, (), device="cpu")
            attention.register_forward_pre_hook(_add_bias, with_kwargs=True)
    return vit


def _not_plain(name: str) -> UsageError:
    return UsageError(
        f"timm's {name} is no plain ViT, so patches cannot be dropped or replaced in it: use a model such as "
        "vit_base_patch16_224, deit3_base_patch16_224, beit_base_patch16_224 or eva02_base_patch14_224."
    )


def _keep(x: Tensor, kept: Tensor | None, prefix: int) -> Tensor:
    """Return the prefix and the patches `kept` (B, V) of tokens (B, T + L, D)."""
    return x if kept is None else take_tokens(x, _with_prefix(kept, prefix))


def _with_prefix(kept: Tensor, prefix: int) -> Tensor:
    first = torch.arange(prefix, device=kept.device).expand(len(kept), -1)
    return torch.cat([first, kept + prefix], dim=1)  # (B, T + V)


def _enter_vit(vit: Any, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Blocks]:
    x = _keep(vit._pos_embed(x), kept, vit.num_prefix_tokens)
    return vit.norm_pre(x), list(vit.blocks)


def _enter_eva(vit: Any, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Blocks]:
    x, rope = vit._pos_embed(x)
    x = vit.norm_pre(_keep(x, kept, vit.num_prefix_tokens))
    if rope is None:
        return x, list(vit.blocks)
    if kept is not None:
        # (L, d) becomes (B, 1, V, d); positions of each block and head, (depth, heads, L, d), (depth, B, heads, V, d).
        rope = rope[kept].unsqueeze(1) if rope.ndim == 2 else rope[:, :, kept].transpose(1, 2)
    ropes = rope if getattr(vit, "rope_mixed", False) else [rope] * len(vit.blocks)
    return x, [partial(block, rope=each) for block, each in zip(vit.blocks, ropes, strict=True)]


def _enter_beit(vit: Any, x: Tensor, kept: Tensor | None) -> tuple[Tensor, Blocks]:
    x = torch.cat([vit.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x], dim=1)
    x = vit.pos_drop(x if vit.pos_embed is None else x + vit.pos_embed)
    ids = None if kept is None else _with_prefix(kept, 1)
    shared = None if vit.rel_pos_bias is None else _pick(vit.rel_pos_bias(), ids)
    return _keep(x, kept, 1), [partial(_beit_block, block, shared, ids) for block in vit.blocks]


def _beit_block(block: Any, shared: Tensor | None, ids: Tensor | None, x: Tensor) -> Tensor:
    has_own = block.attn.relative_position_bias_table is not None
    return block(x, shared_rel_pos_bias=(shared, ids) if has_own else shared)


def _add_bias(attention: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Add the bias of a block to the shared one, inside of the block, where the weights of a sharded one are whole."""
    bias = options.get("shared_rel_pos_bias")
    shared, ids = bias if isinstance(bias, tuple) else (bias, None)
    own = _pick(BeitAttention._get_rel_pos_bias(attention), ids)
    return args, {**options, "shared_rel_pos_bias": own if shared is None else own + shared}


def _pick(bias: Tensor, ids: Tensor | None) -> Tensor:
    """Return a bias (1, heads, N, N) or (heads, N, N) for the tokens `ids` (B, M) only, as (B, heads, M, M)."""
    bias = bias.view(-1, *bias.shape[-2:])  # (heads, N, N)
    return bias[None] if ids is None else bias[:, ids[:, :, None], ids[:, None, :]].transpose(0, 1)


_ENTER = {VisionTransformer: _enter_vit, Beit: _enter_beit, Eva: _enter_eva}


def _to_timm(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}vit.")]:
        state[prefix + name.removeprefix(f"{prefix}vit.")] = state.pop(name)


def _from_timm(module: Any, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    own = {name for name, _ in module.vit.named_parameters()} | {name for name, _ in module.vit.named_buffers()}
    for name in own:
        if prefix + name in state:
            state[f"{prefix}vit.{name}"] = state.pop(prefix + name)
