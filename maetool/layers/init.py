"""MAE's initialisation."""

from torch import nn

from .embed import PatchEmbed


def init_as_mae(module: nn.Module) -> None:
    """Initialise as MAE does: linear layers xavier uniform with zero bias, tokens normal with deviation 0.02.

    The convolution of a patch embedding is xavier uniform on its flattened view and keeps torch's default bias.
    Source: `models_mae.py` of facebookresearch/mae.

    Args:
        module: initialised in place: the linear layers and patch embeddings inside it, and its own tokens.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.out_channels, -1))
    for name, token in module.named_parameters(recurse=False):
        if name.endswith("_token"):
            nn.init.normal_(token, std=0.02)
