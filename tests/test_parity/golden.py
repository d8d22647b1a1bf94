"""Reference numbers, and the names that mmpretrain gives to ViT parts."""

import numpy as np
import torch

from maetool.encoders import TimmEncoder

_MMPRETRAIN = {
    "projection": "proj",
    "layers": "blocks",
    "ln1": "norm1",
    "ln2": "norm2",
    "ffn.blocks.0.0": "mlp.fc1",  # after `layers` became `blocks`
    "ffn.blocks.1": "mlp.fc2",
}


def load(data_dir, name):
    """Return the arrays of a file, and its weights under the publisher's names."""
    golden = {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(data_dir / f"{name}.npz").items()}
    return golden, {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}


def from_mmpretrain(name):
    """Return a name of mmpretrain's ViT in timm's words."""
    for theirs, ours in _MMPRETRAIN.items():
        name = name.replace(theirs, ours)
    return name


def load_all(model, state):
    """Load a state that must fill everything that is learned."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected, (missing, unexpected)


def close(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance, check_dtype=False)


def gradients(model):
    """Return the gradients of a model by the names that its weights have in a checkpoint."""
    return {name.replace("encoder.vit.", "encoder."): p.grad for name, p in model.named_parameters()}


def beit_encoder(**sizes):
    """Return the encoder of BEiT v2 and SimMIM: mask tokens, one table of relative positions, layer scale."""
    options = {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True, "init_values": 0.1}
    return TimmEncoder("beit_base_patch16_224", sees="all", options=options, **sizes)
