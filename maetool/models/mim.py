"""The masked image model: the parts, and one plan that travels between them."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import nn

from maetool.errors import UsageError
from maetool.registry import CORRUPTIONS, DECODERS, ENCODERS, HEADS, MASKERS, MODELS, TARGETS, TEACHERS
from maetool.structures import MaskPlan

from .base import check_loss
from .build import Part, build_decoder, build_optional, build_views, build_with, facts_of_images, widths_of
from .clues import needs_of
from .fit import check_model
from .pairing import facts_of, layout_of
from .reconstruction import ReconstructingModel
from .seen import Seen, Views, decode, latents_of, masked_fraction
from .task import At, build_tasks


@MODELS.register_module()
class MaskedImageModel(ReconstructingModel):
    """Joins a masker, an encoder, a decoder, a target and a head.

    Facts flow one way: the encoder's patch size, channels, grid and width fill what the target and the decoder leave
    out, and so does the target's width P for the decoder. A method that predicts several things from the same tokens
    names the further ones in `tasks`.

    Args:
        masker, encoder, decoder, target, head: configs, or modules that are built already.
        data_preprocessor: config or module; see `maetool.data.ImagePreprocessor`. Only the runner needs it.
        advisors: name to config or module, from images (B, C, H, W) to numbers (B, L); see `Masker.needs`.
        tasks: name to what else is predicted, a decoder, a head and further arguments of `PredictionTask`.
        teacher: config or module; what it gives, maskers and targets name in their `needs`. See `Teacher`.
        corruption: config or module that changes the pixels which the encoder sees; see `Corruption`.
        at: which patches are predicted: those "planned", "visible" or "all"; or the "image" as a whole.
        view: name of the view that is masked, where a batch is a mapping of views, perhaps of crops (B, C, N, *size).
        context: name of another view, which the encoder sees whole for a decoder that takes a memory.
        masker_weight, weight: of the loss of a masker that has one, and of that of `head` beside those of `tasks`.
        views: name of a view to `masker`, its own, or None, which hides nothing, and for at="image" its `use`: it is
            "predicted" from as `view` is, or the "target" of all crops; where it is both, each crop learns the others.

    Raises:
        UsageError: parts that contradict each other, or a mask ratio that the grid cannot give.
    """

    task = "pretraining"
    _parts = {"decoder": DECODERS, "target": TARGETS, "head": HEADS}
    part_registries: ClassVar[dict[str, Any]] = {"masker": MASKERS, "encoder": ENCODERS, "data_preprocessor": MODELS}
    part_registries |= {"advisors": MODELS, "teacher": TEACHERS, "corruption": CORRUPTIONS, **_parts}
    part_registries |= {"tasks": _parts, "views": {"masker": MASKERS}}

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
        teacher: Part | None = None,
        corruption: Part | None = None,
        at: At = "planned",
        view: str | None = None,
        context: str | None = None,
        masker_weight: float = 1.0,
        weight: float = 1.0,
        views: Mapping[str, Any] | None = None,
    ) -> None:
        encoder = ENCODERS.build(encoder)
        facts = facts_of(encoder)
        super().__init__(build_with(MODELS, data_preprocessor, facts))
        facts |= {**facts_of_images(self.data_preprocessor, view), "encoder": encoder}
        self.teacher = build_optional(TEACHERS, teacher, facts)
        facts |= {"model_teacher": self.teacher}
        self.masker = build_with(MASKERS, masker, facts)
        self.maskers, self.whole_views, self.more_views, self.target_view = build_views(views or {}, facts)
        self.encoder = encoder
        self.corruption = build_optional(CORRUPTIONS, corruption, facts)
        self.target = build_with(TARGETS, target, facts)
        self.decoder = build_decoder(decoder, facts, self.target)
        self.head = build_with(HEADS, head, {**facts, **widths_of(self.target)})
        self.advisors = nn.ModuleDict({name: MODELS.build(part) for name, part in (advisors or {}).items()})
        self.tasks = build_tasks(tasks or {}, {**facts, "main_decoder": self.decoder}, self.target)
        self.at, self.view, self.context, self.masker_weight, self.weight = at, view, context, masker_weight, weight
        self.needs = needs_of(self)
        check_model(self)
        if hasattr(self.teacher, "attach"):
            self.teacher.attach(self)

    def forward(
        self,
        images: Any,
        data_samples: dict[str, Any] | None = None,
        mode: Literal["loss", "predict", "tensor"] = "loss",
        plan: MaskPlan | None = None,
        statistics: Literal["true", "visible"] = "true",
    ) -> Any:
        """Return the losses, the reconstruction or the tokens of a batch.

        Args:
            images: (B, C, *size), normalised, or a mapping from streams or views to tensors.
            data_samples: what else the batch holds: `key` (B,) makes masks repeatable, `mask` (1 = removed) replaces
                them and `weight` weighs the loss, of patches or of pixels; see `Masker`.
            mode: "loss" gives a dict of scalars, see `weighted_sum`, with the share of the patches that is removed;
                "predict" what `reconstruct` gives; "tensor" the encoder's tokens (B, T + L, D) with nothing hidden.
            plan: hides exactly this instead of asking the masker.
            statistics: for "predict", see the target's `invert`.

        Raises:
            UsageError: an unknown mode, or images that do not fit the encoder.
        """
        views = Views(self, images, data_samples or {}, plan)
        if mode == "tensor":
            return self.encoder(views.images(self.view))  # (B, T + L, D)
        seen = views.seen(self.view)
        plan = seen.plan.predicting(self.at)
        pred = decode(self.decoder, seen.latents["main"], plan, views.memory(self.context))  # (B, M, P)
        if mode == "predict":
            return self.reconstruct(seen.images, pred, plan, statistics)
        if mode != "loss":
            raise UsageError(f'mode is {mode!r}, but must be "loss", "predict" or "tensor".')
        pred, target, plan = views.compared(pred, plan)  # each (B, M, P)
        losses = self.head(pred, target, plan)
        check_loss(losses, type(self.head).__name__)
        if self.tasks or hasattr(self.masker, "loss"):
            losses = views.with_others(losses, pred, target, plan)
        return {**views.with_learned(losses), "masked_fraction": masked_fraction(seen.plan)}

    def see(
        self, images: Any, samples: Mapping[str, Any], plan: Any = None, view: str | None = None, clues: Any = None
    ) -> Seen:
        """Return images, plan and clues of one view, and what each decoder reads of it.

        Args:
            images: (B, C, *size), normalised, or a mapping of streams.
            samples: what the batch holds beside images: `key`, `mask`, `weight`.
            plan: what is visible; None asks the masker.
            view: name of the view, which decides what decoders read it; None for the only one.
            clues: of the view; None makes them.
        """
        layout = layout_of(self.encoder, images)  # where the tokens lie; no pixel is touched
        clues = clues or self.clues_of(images, layout)  # computed when somebody asks
        plan = plan or self.hide(images, samples, clues, view)  # who is hidden, who is predicted
        shown = self.shown(images, plan, samples)
        return Seen(images, plan, clues, latents_of(self.encoder, shown, plan, self.decoders_of(view)))
