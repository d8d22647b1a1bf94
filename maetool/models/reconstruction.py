"""What others ask of a masked image model: its plans and tokens, what metrics see, predictions as pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.patches import patchify, unpatchify
from maetool.structures import Layout, MaskPlan, plan_of_all, tensors_of

from .base import TrainableModel
from .clues import Clues
from .seen import Views, corrupted, decode, latents_of


class ReconstructingModel(TrainableModel):
    """Base of `MaskedImageModel`: what is asked of it beside its losses."""

    encoder: Any
    decoder: Any
    target: Any
    tasks: Any
    teacher: Any
    advisors: Any
    masker: Any
    maskers: nn.ModuleDict
    whole_views: set[str]
    corruption: Any
    needs: set[str]
    view: str | None
    more_views: Sequence[str]

    def clues_of(self, images: Any, layout: Layout) -> Clues:
        """Return what masker and targets may ask about a view.

        Args:
            images: (B, C, *size), normalised, or a mapping of streams.
            layout: where their tokens lie.
        """
        return Clues(images, layout, self.encoder, self.teacher, self.advisors, self.needs)

    def make_plan(self, images: Any, data_samples: dict[str, Any] | None = None) -> MaskPlan:
        """Ask the masker what to hide.

        Args:
            images: (B, C, *size), normalised, or a mapping of streams or views.
            data_samples: may hold `key` int64 (B,), `mask` (1 = removed) and `weight`.
        """
        return Views(self, images, data_samples or {}, None).plan(self.view)

    def hide(self, images: Any, samples: Mapping[str, Any], clues: Clues, view: str | None = None) -> MaskPlan:
        """Ask the masker of a view what to hide in its images; the plan has the keys of the samples.

        Args:
            images: (B, C, *size), normalised, or a mapping of streams.
            samples: may have `mask` (1 = removed), `key` and `weight`.
            clues: of the images.
            view: name of the view; None for the only one.
        """
        if view in self.whole_views:
            return plan_of_all(clues.layout, len(tensors_of(images)[0]), tensors_of(images)[0].device)
        masker = self.masker if view is None or view not in self.maskers else self.maskers[view]
        given = (samples.get(name) for name in ("mask", "key", "weight"))
        plan = masker(images, clues.layout, *given, clues.of(masker))
        return plan if samples.get("key") is None else replace(plan, keys=samples["key"])

    def shown(self, images: Any, plan: MaskPlan, samples: Mapping[str, Any]) -> Any:
        """Return what the encoder sees: the images of one view, or what the corruption makes of them.

        Args:
            images: (B, C, *size), normalised, or a mapping of streams.
            plan: of the batch.
            samples: may hold `key`, int64 (B,), which repeats the draw.
        """
        return images if self.corruption is None else corrupted(self.corruption, images, plan, samples)

    def decoders_of(self, view: str | None) -> dict[str, nn.Module]:
        """Return the decoders that read the encoder's tokens of a view, by the name of their task."""
        tasks = {name: task for name, task in self.tasks.items() if task.reads == "encoder"}
        readers = {"main": self, **tasks}.items()
        return {name: one.decoder for name, one in readers if view in (one.view or self.view, *one.more_views)}

    def read(self, images: Any, plan: MaskPlan) -> list[Any]:
        """Return what each of `decoders` reads: the last tokens (B, T + V, D), or a list of those of some layers.

        Args:
            images: (B, C, *size), normalised.
            plan: what is visible.
        """
        decoders = {str(number): decoder for number, decoder in enumerate(self.decoders)}
        return list(latents_of(self.encoder, images, plan, decoders).values())

    @property
    def decoders(self) -> list[nn.Module]:
        """The decoder, and those of the tasks that read the encoder's tokens."""
        return [self.decoder, *(task.decoder for task in self.tasks.values() if task.reads == "encoder")]

    def val_step(self, data: Any) -> list[dict[str, Tensor]]:
        """Return what metrics see of a batch, for each image.

        Args:
            data: the batch as the loader gives it.

        Returns:
            B dicts: `pred` (M, P), `mask` bool (L,), True (1) = removed, and of an invertible target `reconstruction`
            (C, *size), normalised as the images are.
        """
        batch = self.data_preprocessor(data, False)
        views: Any = Views(self, batch["images"], batch["data_samples"], None)
        seen = views.seen(self.view)
        plan = seen.plan.predicting(self.at)
        pred = decode(self.decoder, seen.latents["main"], plan, views.memory(self.context))
        values = {"pred": pred, "mask": plan.mask}
        if self.target.invertible:
            values["reconstruction"] = self.reconstruct(seen.images, pred, plan)["reconstruction"]
        return [dict(zip(values, each, strict=True)) for each in zip(*values.values(), strict=True)]

    def test_step(self, data: Any) -> list[dict[str, Tensor]]:
        """Return what `val_step` returns."""
        return self.val_step(data)

    @torch.no_grad()
    def reconstruct(
        self, images: Tensor, pred: Tensor, plan: MaskPlan, statistics: Literal["true", "visible"] = "true"
    ) -> dict[str, Any]:
        """Return `pred`, `plan` and `reconstruction` (B, C, *size): the images with predictions pasted in.

        Args:
            images: (B, C, *size), normalised.
            pred: predictions (B, M, P).
            plan: whose `ids_predict` they are of.
            statistics: where a target of normalised patches takes their mean and deviation from: the "true" patches, or
                the "visible" ones alone.

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
