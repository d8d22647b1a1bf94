"""The numbers of facebookresearch/capi's encoder: blocks without biases, RMS norms, registers, rotary positions."""

import torch
from golden import close, load
from torch import nn

from maetool.layers import Block, PatchEmbed, run_blocks
from maetool.ops.rotary import rotary

NAMES = {"residual1.norm": "norm1", "residual2.norm": "norm2", "residual2.fn": "mlp", "residual1.fn.proj": "attn.proj"}


def block_of(state, number):
    """Return a block with the published weights, its biases zero, and 1e-5 added to the variance by its norms."""
    block = Block(48, 3, qkv_bias=False, norm_layer="rms")
    block.norm1.eps = block.norm2.eps = 1e-5
    own = {n.removeprefix(f"encoder.blocks.{number}."): v for n, v in state.items() if f"encoder.blocks.{number}." in n}
    weights = {"attn.qkv.weight": torch.cat([own[f"residual1.fn.{kind}_proj.weight"] for kind in "qkv"])}
    for old, new in NAMES.items():
        weights |= {n.replace(old, new): v for n, v in own.items() if n.startswith(old)}
    missing, unexpected = block.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.endswith("bias") for name in missing)
    for name in missing:
        nn.init.zeros_(block.get_parameter(name))
    return block


def test_latent_of_visible_patches(data_dir):
    golden, state = load(data_dir, "capi")
    embed = PatchEmbed((8, 8), 3, 48)
    embed.proj.load_state_dict({kind: state[f"patch_embed.{kind}"] for kind in ("weight", "bias")})
    ids = torch.stack([(~mask).nonzero()[:, 0] for mask in golden["mask"]])
    x = torch.cat([state["registers"].expand(3, -1, -1), embed(golden["imgs"], ids)], dim=1)
    # Frequencies in turns over the side of the image, from 7 down to 7e-4.
    frequencies = 2 * torch.pi * 7 * 1e-4 ** (torch.arange(4) / 3)
    rope = rotary(golden["encoder_coords"], 16, pairing="across", frequencies=frequencies)
    blocks = [block_of(state, number) for number in (0, 1)]
    tokens = run_blocks(blocks, x, nn.RMSNorm(48, eps=1e-5, elementwise_affine=False), rope=rope)
    close(tokens[:, 16:], golden["latent"])
