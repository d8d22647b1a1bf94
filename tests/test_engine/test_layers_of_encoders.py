"""Layer-wise decay for every encoder: layers, groups, and the shipped fine-tuning recipe on top of each."""

import pytest
import torch
from timm.models import group_parameters

from maetool.config.load import load_config
from maetool.config.prepare import prepare_config
from maetool.encoders import SwinTransformer, TimmEncoder
from maetool.engine.optim.layer_decay import LayerDecayConstructor
from maetool.registry import ENCODERS, MODELS

PLAIN = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
SWIN = {"img_size": 64, "patch_size": 4, "embed_dim": 8, "depths": (2, 1, 3, 1), "num_heads": (1, 2, 2, 4)}
TIMM = {
    "ViT": ("vit_tiny_patch16_224", {}),
    "CLIP": ("vit_base_patch16_clip_224", {}),  # with a norm in front of the blocks
    "DeiT III": ("deit3_small_patch16_224", {}),
    "DINOv2": ("vit_small_patch14_dinov2", {}),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", {}),
    "DINOv3": ("vit_small_patch16_dinov3", {}),
    "EVA": ("eva_giant_patch14_224", {}),
    "EVA-02": ("eva02_base_patch14_224", {}),
    "rotary, learned": ("vit_base_patch16_rope_mixed_224", {}),
    "BEiT": ("beit_base_patch16_224", {}),
    "BEiT, shared": ("beit_base_patch16_224", {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}),
    "BEiT v2": ("beitv2_base_patch16_224", {}),
}
CONFIGS = {
    "VisionTransformer": {**PLAIN, "pos_embed": "learned"},
    "VisionTransformer, sees all": {**PLAIN, "pos_embed": "learned", "sees": "all", "layer_scale": 0.1},
    "SwinTransformer": {**SWIN, "window_size": 2},
    "HybridTransformer": {**PLAIN, "conv_dims": (8, 16), "fuse": "always"},
    "WindowedTransformer": {**PLAIN, "window_size": 2, "global_blocks": (1,)},
    **{name: {"type": "TimmEncoder", "name": model, **PLAIN, "options": more} for name, (model, more) in TIMM.items()},
}
# By the first parts of a name: what a trunk begins with, and what follows its last block.
FIRST = ("cls_token", "reg_token", "mask_token", "pos_embed", "patch_embed", "norm_pre", "stage", "proj", "rope")
LAST = ("norm.", "fuse", "rel_pos_bias")


@pytest.mark.parametrize(("name", "options"), TIMM.values(), ids=TIMM)
def test_layers_are_those_of_timm(name, options):
    """But for timm's last norm, which goes with the last block, and what all blocks share, which timm leaves apart."""
    encoder = TimmEncoder(name, **PLAIN, options=options)
    theirs = group_parameters(encoder.vit, encoder.vit.group_matcher(), reverse=True)
    assert set(theirs) == {parameter.removeprefix("vit.") for parameter, _ in encoder.named_parameters()}
    for parameter, layer in theirs.items():
        if not parameter.startswith(("norm.", "rel_pos_bias.", "rope.")):
            assert encoder.layer_of(f"vit.{parameter}") == layer, parameter


def test_layers_of_swin_are_those_of_timm():
    """But for the map between two stages, which SimMIM counts to the block before it, and timm to the one after."""
    encoder = SwinTransformer(**SWIN, window_size=2)
    matcher = {
        "stem": r"^patch_embed|mask_token",
        "blocks": [(r"^layers\.(\d+).downsample", (0,)), (r"^layers\.(\d+)\.\w+\.(\d+)", None), (r"^norm", (99999,))],
    }
    for parameter, layer in group_parameters(encoder, matcher, reverse=True).items():
        if not parameter.startswith("norm."):
            assert encoder.layer_of(parameter) == layer - ("downsample" in parameter), parameter


@pytest.mark.parametrize("name", CONFIGS)
def test_the_shipped_recipe_decays_every_encoder(repository, name):
    cfg = load_config(repository / "configs/finetune/vit-t_shapes.py")
    cfg.model.encoder = {"type": name.partition(",")[0], **CONFIGS[name]}
    prepare_config(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    wrapper = LayerDecayConstructor({"optimizer": cfg.optim_wrapper.optimizer}, cfg.optim_wrapper.paramwise_cfg)(model)
    groups, rate = wrapper.optimizer.param_groups, cfg.optim_wrapper.optimizer.lr
    layer = {id(p): (group["layer"], group["lr"]) for group in groups for p in group["params"]}
    trained = {parameter: value for parameter, value in model.named_parameters() if value.requires_grad}
    assert sorted(layer) == sorted(map(id, trained.values()))
    assert sum(len(group["params"]) for group in groups) == len(trained)  # each once
    depth = sum(SWIN["depths"]) if name == "SwinTransformer" else PLAIN["depth"]
    assert {number for number, _ in layer.values()} == set(range(depth + 2))
    for parameter, value in trained.items():
        number, own_rate = layer[id(value)]
        inside = parameter.removeprefix("encoder.").removeprefix("vit.")
        assert own_rate == pytest.approx(rate * cfg.optim_wrapper.paramwise_cfg.layer_decay ** (depth + 1 - number))
        if not parameter.startswith("encoder.") or inside.startswith(LAST):
            assert number == depth + 1, parameter
        elif inside.startswith(FIRST):
            assert number == 0, parameter
        else:
            assert 1 <= number <= depth, parameter
    before = {parameter: value.detach().clone() for parameter, value in trained.items()}
    images = torch.randn(8, 3, *model.encoder.img_size, generator=torch.Generator().manual_seed(0))
    wrapper.update_params(model(images, {"label": torch.arange(8)})["loss"])
    moved = {parameter for parameter, value in trained.items() if not torch.equal(value, before[parameter])}
    assert {"head.weight", *(p for p in trained if "blocks.0.attn.qkv.weight" in p)} <= moved


@pytest.mark.parametrize("name", ["DINOv2 with registers", "DINOv3", "rotary, learned", "BEiT, shared"])
def test_positions_and_tokens_of_timm_are_not_decayed(name):
    """As timm says, but for relative positions, which BEiT's own code decays."""
    encoder = ENCODERS.build({**CONFIGS[name], "sees": "all"})
    theirs = {f"vit.{parameter}" for parameter in encoder.vit.no_weight_decay()}
    present = {parameter for parameter, _ in encoder.named_parameters()}
    relative = {parameter for parameter in present if parameter.endswith("relative_position_bias_table")}
    assert encoder.no_weight_decay() == theirs & present - relative
    assert encoder.no_weight_decay()
