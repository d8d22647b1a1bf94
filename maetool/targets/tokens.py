"""The nearest code of a codebook as target."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.ops.kmeans import nearest_centroids
from maetool.registry import TARGETS
from maetool.structures import MaskPlan
from maetool.weights.read import local_file, read_checkpoint, weights_of


@TARGETS.register_module()
class TokenTarget(nn.Module):
    """The number of the code that lies nearest to another target of the patch: raw pixels, or a teacher's features.

    With `PictureTarget` and the centroids that `maetool fit_centroids` finds, these are the tokens of CCViT; with the
    encoder and the codebook of a published tokenizer, which `maetool convert_tokenizer` puts under our names, those of
    BEiT v2.

    Args:
        codebook: file with `codebook` (K, N), and for BEiT v2 with `projection.{0,2}.{weight,bias}`: two linear maps
            with tanh between, from what `source` gives to N numbers, which are then made to length 1 as the codes are.
            Or a number K: so many codes are drawn at random, always the same ones, and compared by angle (after
            BEST-RQ, Chiu et al. 2022).
        source: config of a target that gives numbers, or the module.
        patch_size, in_chans, grid, mean, std, encoder: facts for `source`; the model fills them in.

    Attributes:
        out_dim: P = K.
        gives_tokens: True, the target is int64 (B, M) and the head classifies.
        predicted_prefix: tokens of the prefix that come first, as the source gives them.
        invertible: False.

    Raises:
        UsageError: no such file, one without a codebook, or one for other numbers than `source` gives.
    """

    part_registries = {"source": TARGETS}
    debug_arguments: ClassVar = {"codebook": 8}  # drawn, because a file's would not fit

    invertible = False
    gives_tokens = True
    codebook: Tensor

    def __init__(
        self,
        codebook: str | int,
        source: Any,
        patch_size: Size,
        in_chans: Count = 3,
        grid: int | Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        encoder: Any = None,
    ) -> None:
        super().__init__()
        facts = {"patch_size": patch_size, "in_chans": in_chans, "grid": grid, "mean": mean, "std": std}
        facts |= {} if encoder is None else {"encoder": encoder}
        self.source = TARGETS.build(source, default_args=facts)
        if getattr(self.source, "gives_tokens", False):
            raise UsageError("The source of TokenTarget gives tokens already: name a target that gives numbers.")
        codes, projection = self._drawn(codebook) if isinstance(codebook, int) else _read(codebook, self.source)
        width = projection[0].in_features if projection else codes.shape[1]
        if width != self.source.out_dim:
            raise UsageError(
                f"The tokenizer {codebook} takes {width} numbers a patch, but {type(self.source).__name__} gives "
                f"{self.source.out_dim}: use the one that was made for this target, patch size and number of channels."
            )
        self.projection = projection.requires_grad_(False) if projection else None
        self.unit_length = projection is not None or isinstance(codebook, int)
        self.register_buffer("codebook", codes)
        self.out_dim = len(codes)
        self.predicted_prefix = getattr(self.source, "predicted_prefix", 0)

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the tokens int64 (B, M) of images (B, C, H, W) at `plan.ids_predict`."""
        x = self.source(images, plan).to(self.codebook.dtype)  # (B, M, N)
        with torch.autocast(images.device.type, enabled=False):
            x = x if self.projection is None else self.projection(x)
            x = functional.normalize(x, dim=-1) if self.unit_length else x
            _, tokens = nearest_centroids(x.flatten(0, 1), self.codebook)
        return tokens.view(x.shape[:2])  # (B, M)

    def _drawn(self, number: int) -> tuple[Tensor, None]:
        if number < 2:
            raise UsageError(f"codebook is {number}, but must be a file, or how many codes to draw, at least 2.")
        codes = torch.randn(number, self.source.out_dim, generator=torch.Generator().manual_seed(0), device="cpu")
        return functional.normalize(codes, dim=1), None


def _read(path: str, source: nn.Module) -> tuple[Tensor, nn.Sequential | None]:
    """Return the codebook (K, N) of a tokenizer file, and its projection if it has one."""
    if not local_file(path).is_file():
        raise UsageError(
            f"There is no tokenizer file {path}: make it with `maetool fit_centroids CONFIG --out {path}`, or from a "
            "published one with `maetool convert_tokenizer`, or name another as model.target.codebook."
        )
    state = read_checkpoint(path)
    _check_units(state.get("meta") or {}, source, path)
    weights = weights_of(state, path)
    codes = weights.get("codebook")
    if codes is None or codes.ndim != 2 or len(codes) < 2:
        actual = "no codebook" if codes is None else f"a codebook of shape {tuple(codes.shape)}"
        raise UsageError(
            f"{path} holds {actual}, but a tokenizer file holds one of shape (codes, numbers): name another file."
        )
    maps = {name.removeprefix("projection."): value for name, value in weights.items() if "projection." in name}
    if not maps:
        return codes.float(), None
    if set(maps) != {"0.weight", "0.bias", "2.weight", "2.bias"} or len(maps["2.weight"]) != codes.shape[1]:
        raise UsageError(
            f"The projection in {path} does not lead to codes of {codes.shape[1]} numbers by two linear maps: convert "
            "the tokenizer again with `maetool convert_tokenizer`."
        )
    (hidden, width), out = maps["0.weight"].shape, codes.shape[1]
    projection = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, out))
    projection.load_state_dict(maps)
    return codes.float(), projection


def _check_units(meta: Mapping[str, Any], source: nn.Module, path: str) -> None:
    """Check that centroids of pixels are in the units of the source.

    Raises:
        UsageError: they are in others. Files of maetool 0.1.0, which do not say it, hold normalised pixels.
    """
    expected = getattr(source, "units", None)
    units = meta.get("units", "normalised" if "patches" in meta else expected)
    if expected is not None and units != expected:
        raise UsageError(
            f"{path} holds centroids of {units} pixels, but {type(source).__name__} gives {expected} ones: fit them "
            "again with `maetool fit_centroids`, or take the source that they were fitted on (PixelTarget for "
            "normalised pixels, PictureTarget for picture pixels)."
        )
