"""The masked image model: five parts and one plan."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.heads import weighted_sum
from maetool.ops.patches import patchify, unpatchify
from maetool.registry import DECODERS, ENCODERS, HEADS, MASKERS, MODELS, TARGETS
from maetool.structures import MaskPlan

from .base import TrainableModel, check_loss
from .build import Part, build_decoder, build_with, facts_of_images
from .pairing import check_pairing, facts_of
from .task import build_tasks, check_pair, check_place


@MODELS.register_module()
class MaskedImageModel(TrainableModel):
    """Joins a masker, an encoder, a decoder, a target and a head.

    Facts flow one way: the encoder's patch size, channels, grid and width fill what the target and the decoder leave
    out, and so does the target's width P for the decoder. A method that predicts several things from the same tokens
    names the further ones in `tasks`.

    Args:
        masker, encoder, decoder, target, head: configs, or modules that are built already.
        data_preprocessor: config or module; see `maetool.data.ImagePreprocessor`. Only the runner needs it.
        advisors: name to config or module, from images (B, C, H, W) to numbers (B, L), for maskers that look at more
            than a grid; see `Masker.needs`.
        tasks: name to what else is predicted: decoder, head and target (by default the same), `at` which patches, and
            the `weight` of its loss, where that of `head` has 1; see `PredictionTask`.

    Raises:
        UsageError: parts that contradict each other, or a mask ratio that the grid cannot give.
    """

    task = "pretraining"
    _parts = {"decoder": DECODERS, "target": TARGETS, "head": HEADS}
    part_registries = {"masker": MASKERS, "encoder": ENCODERS, "data_preprocessor": MODELS, "advisors": MODELS}
    part_registries |= {**_parts, "tasks": _parts}

    def __init__(
        self,
        masker: Part,
        encoder: Part,
        decoder: Part,
        target: Part,
        head: Part,
        data_preprocessor: Part | None = None,
        advisors: Mapping[str, Any] | None = None,
        tasks: Mapping[str, Any] | None = None,
    ) -> None:
        encoder = ENCODERS.build(encoder)
        facts = facts_of(encoder)
        super().__init__(build_with(MODELS, data_preprocessor, facts))
        facts |= {**facts_of_images(self.data_preprocessor), "encoder": encoder}
        self.masker = build_with(MASKERS, masker, facts)
        self.encoder = encoder
        self.target = build_with(TARGETS, target, facts)
        self.decoder = build_decoder(decoder, facts, self.target.out_dim)
        self.head = build_with(HEADS, head, facts)
        self.advisors = nn.ModuleDict({name: MODELS.build(part) for name, part in (advisors or {}).items()})
        self.tasks = build_tasks(tasks or {}, {**facts, "main_decoder": self.decoder}, self.target)
        check_pair(self.target, self.head)
        check_place(self.decoder, self.target, "planned")
        check_pairing(encoder, self.decoders, self.masker, tuple(self.advisors))
        self.masker.num_keep(encoder.grid)  # an impossible ratio is told now, not at the first step

    def forward(
        self,
        images: Tensor,
        data_samples: dict[str, Any] | None = None,
        mode: Literal["loss", "predict", "tensor"] = "loss",
        plan: MaskPlan | None = None,
        statistics: Literal["true", "visible"] = "true",
    ) -> Any:
        """Return the losses, the reconstruction or the tokens of a batch.

        Args:
            images: (B, C, H, W), normalised.
            data_samples: what else the batch holds: `key` (B,) makes masks repeatable, `mask` replaces them and
                `weight` weighs the loss, of patches or of pixels; see `Masker`.
            mode: "loss" gives a dict of scalars, the head's and the share of the patches that is removed, and with
                `tasks` see `weighted_sum`; "predict" what `reconstruct` gives; "tensor" the encoder's tokens
                (B, T + L, D) with nothing hidden.
            plan: hides exactly this instead of asking the masker.
            statistics: for "predict", see the target's `invert`.

        Raises:
            UsageError: an unknown mode, or images that do not fit the encoder.
        """
        if mode == "tensor":
            return self.encoder(images)  # (B, T + L, D)
        plan = plan or self.make_plan(images, data_samples)
        latent, *latents = self.read(images, plan)  # (B, T + V, D)
        pred = self.decoder(latent, plan)  # (B, M, P)
        if mode == "predict":
            return self.reconstruct(images, pred, plan, statistics)
        if mode != "loss":
            raise UsageError(f'mode is {mode!r}, but must be "loss", "predict" or "tensor".')
        target = self.target(images, plan)  # (B, M, P)
        losses = self.head(pred, target, plan)
        check_loss(losses, type(self.head).__name__)
        if self.tasks:
            losses = self._with_tasks(losses, latents, images, plan, target)
        return {**losses, "masked_fraction": torch.tensor(plan.mask_ratio)}

    def val_step(self, data: Any) -> list[dict[str, Tensor]]:
        """Return what metrics see of a batch, for each image.

        Args:
            data: the batch as the loader gives it.

        Returns:
            B dicts: `pred` (M, P), `mask` bool (L,), True (1) = removed, and of an invertible target `reconstruction`
            (C, H, W), normalised as the images are.
        """
        batch = self.data_preprocessor(data, False)
        plan = self.make_plan(batch["images"], batch["data_samples"])
        pred = self.decoder(self.read(batch["images"], plan)[0], plan)
        found = {"pred": pred, "mask": plan.mask}
        if self.target.invertible:
            found["reconstruction"] = self.reconstruct(batch["images"], pred, plan)["reconstruction"]
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]

    def test_step(self, data: Any) -> list[dict[str, Tensor]]:
        """Return what `val_step` returns."""
        return self.val_step(data)

    def _with_tasks(
        self, losses: dict[str, Tensor], latents: list[Any], images: Tensor, plan: MaskPlan, target: Tensor
    ) -> dict[str, Tensor]:
        named = zip(self.tasks.items(), latents, strict=True)
        parts = {name: task(latent, images, plan, target) for (name, task), latent in named}
        return weighted_sum({"main": losses, **parts}, {name: task.weight for name, task in self.tasks.items()})

    @property
    def decoders(self) -> list[nn.Module]:
        """The decoder, and those of the tasks."""
        return [self.decoder, *(task.decoder for task in self.tasks.values())]

    def make_plan(self, images: Tensor, data_samples: dict[str, Any] | None = None) -> MaskPlan:
        """Ask the masker what to hide in images (B, C, H, W)."""
        samples = data_samples or {}
        grid = self.encoder.grid_of(images)
        given, keys, weight = (samples.get(name) for name in ("mask", "key", "weight"))
        return self.masker(images, grid, given, keys, weight, self.advisors)

    def read(self, images: Tensor, plan: MaskPlan) -> list[Any]:
        """Return what each of `decoders` reads of images (B, C, H, W): the last tokens, or a list of some layers'."""
        wanted = [getattr(decoder, "layers", None) for decoder in self.decoders]
        if not any(wanted):
            return [self.encoder(images, plan)] * len(wanted)
        last = [self.encoder.num_layers]
        numbers = sorted({number for layers in wanted for number in layers or last})
        level = dict(zip(numbers, self.encoder(images, plan, numbers), strict=True))
        return [
            [level[number] for number in layers] if layers else self.encoder.norm(level[last[0]]) for layers in wanted
        ]

    @torch.no_grad()
    def reconstruct(
        self, images: Tensor, pred: Tensor, plan: MaskPlan, statistics: Literal["true", "visible"] = "true"
    ) -> dict[str, Any]:
        """Return `pred` (B, M, P), `plan` and `reconstruction` (B, C, H, W): the images with predictions pasted in.

        Raises:
            UsageError: the target cannot be turned back into pixels.
        """
        if not self.target.invertible:
            raise UsageError(
                f"{type(self.target).__name__} cannot be turned back into pixels: "
                "use a pixel target to see reconstructions."
            )
        pixels = self.target.invert(pred, images, plan, statistics)
        patches = plan.scatter(pixels, patchify(images.float(), self.encoder.patch_size))
        return {"pred": pred, "plan": plan, "reconstruction": unpatchify(patches, plan.grid, self.encoder.patch_size)}
