"""Targets of several streams side by side."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.errors import UsageError
from maetool.ops.stats import numbers_of_streams, patch_stats
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class StreamTarget(nn.Module):
    """A target for each stream of an encoder, all in one index; narrower ones are padded with zeros.

    A decoder with `out_dims` predicts each stream by a map of its own, and `StreamHead` leaves the padding out.

    Args:
        targets: name of each stream to the config of its target; or one config, for all of them alike.
        encoder: of several streams; the model hands it over.
        norm_pix_loss: normalise the numbers of each place by the mean and the deviation of those of all streams, which
            lie on one grid (SatMAE); the targets should then be of pixels as they are.
        mean, std: of the channels of what the encoder reads, in stored units; each target gets those of its stream.
        statistics: name of each input to its `mean` and `std`, where they differ; the model hands them over.

    Attributes:
        out_dims: name of each stream to its P.
        out_dim: the largest of these.

    Raises:
        UsageError: an encoder of one stream, other streams than the encoder's, a target that gives tokens, or
            `norm_pix_loss` of streams on different grids.
    """

    part_registries = {"targets": TARGETS}
    invertible = False

    def __init__(
        self,
        targets: Mapping[str, Any],
        encoder: Any,
        norm_pix_loss: bool = False,
        mean: Any = None,
        std: Any = None,
        statistics: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        streams = getattr(encoder, "streams", None)
        if streams is None:
            raise UsageError(
                f"{type(encoder).__name__} has one stream, but StreamTarget is for several: take the target itself."
            )
        chosen = dict.fromkeys(streams, targets) if "type" in targets else targets
        if set(chosen) != set(streams):
            raise UsageError(
                f"StreamTarget has targets for {', '.join(chosen)}, but the streams are {', '.join(streams)}: give one "
                "for each."
            )
        named = {kind: {name: own[kind] for name, own in (statistics or {}).items()} for kind in ("mean", "std")}
        known = {kind: value or named[kind] for kind, value in (("mean", mean), ("std", std))}
        parts = {kind: numbers_of_streams(encoder, value) if value else {} for kind, value in known.items()}
        facts = {name: {kind: own[name] for kind, own in parts.items() if name in own} for name in streams}
        built = {name: TARGETS.build(chosen[name], default_args={**facts[name], **streams[name]}) for name in streams}
        wrong = [name for name, target in built.items() if getattr(target, "gives_tokens", False)]
        if wrong:
            raise UsageError(f"The target of {wrong[0]} gives tokens, which cannot stand beside numbers: use tasks.")
        grids = {tuple(own["grid"]) for own in streams.values()}
        if norm_pix_loss and len(grids) > 1:
            raise UsageError(
                "norm_pix_loss of StreamTarget normalises the numbers of all streams at a place, but the streams lie "
                "on different grids: set it in the target of each instead."
            )
        self.norm_pix_loss = norm_pix_loss
        self.targets = nn.ModuleDict(built)
        self.out_dims = {name: target.out_dim for name, target in built.items()}
        self.out_dim = max(self.out_dims.values())
        self._encoder = (encoder,)  # in a tuple, where it is not registered a second time

    @torch.no_grad()
    def forward(self, images: Any, plan: MaskPlan) -> Tensor:
        """Return the float32 targets (B, M, P) at `plan.ids_predict`; narrower streams fill the first numbers.

        Args:
            images: a mapping from streams to tensors, or what the encoder's stems split into streams.
            plan: over all streams.
        """
        parts = self._encoder[0].split(images)
        # Each (B, L of the stream, P of the stream).
        levels = [target(parts[name], plan.only(name).predicting("all")) for name, target in self.targets.items()]
        if self.norm_pix_loss:
            mean, std = patch_stats(torch.cat(levels, dim=2))
            levels = [(numbers - mean) / std for numbers in levels]
        levels = [pad(numbers, (0, self.out_dim - numbers.shape[2])) for numbers in levels]
        return plan.take_predicted(torch.cat(levels, dim=1))
