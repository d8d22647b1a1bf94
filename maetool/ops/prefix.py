"""What the tokens before those of the patches are."""

from typing import Any


def has_class_token(encoder: Any) -> bool:
    """Return whether the prefix of an encoder begins with a class token, and not with a register or a patch.

    Args:
        encoder: with `num_prefix_tokens`. It says by its `cls_token`, or that of timm's model inside of it, which is
            None without one; of an encoder that says nothing the prefix is taken to begin with a class token.
    """
    if not getattr(encoder, "num_prefix_tokens", 0):
        return False
    says = encoder if hasattr(encoder, "cls_token") else getattr(encoder, "vit", None)
    return getattr(says, "cls_token", ...) is not None
