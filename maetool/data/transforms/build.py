"""Builds the transforms of a pipeline: those of other libraries come inside of an adapter."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from mmengine.registry import DefaultScope

from maetool.registry import TRANSFORMS, check_part

from .sample import PictureTransform

# A base class of a library's transforms, by module and name, to the adapter for them: by name, so that no library is
# imported where no pipeline names it.
_ADAPTERS = {
    ("mmcv.transforms.base", "BaseTransform"): "mmcv_transforms.MmcvTransform",
    ("torchvision.transforms.v2._transform", "Transform"): "torchvision_transforms.TorchvisionTransform",
    ("torchvision.transforms.v2._container", "Compose"): "torchvision_transforms.TorchvisionTransform",
    ("albumentations.core.transforms_interface", "BasicTransform"): "albumentations_transforms.AlbumentationsTransform",
    ("albumentations.core.composition", "BaseCompose"): "albumentations_transforms.AlbumentationsTransform",
    ("kornia.augmentation.base", "_BasicAugmentationBase"): "kornia_transforms.KorniaTransform",
    ("kornia.augmentation.container.base", "SequentialBase"): "kornia_transforms.KorniaTransform",
}


def build_transform(transform: Any) -> Callable[[Any], Any]:
    """Build a transform of a pipeline.

    Args:
        transform: a config or a callable. In the config of another library's transform, those that it holds are configs
            too.

    Raises:
        UsageError: an unknown name or argument, or one that cannot be used in a pipeline.
    """
    kind = check_part(transform, TRANSFORMS) if isinstance(transform, Mapping) else type(transform)
    adapter = _adapter_of(kind)
    if isinstance(transform, Mapping):
        # In a run, MMEngine would look up the parts that MMCV names inside, such as `Resize`, among maetool's.
        is_mmcvs = adapter is not None and adapter.__name__ == "MmcvTransform"
        with DefaultScope.overwrite_default_scope("mmengine") if is_mmcvs else nullcontext():
            transform = TRANSFORMS.build(transform if is_mmcvs or adapter is None else _with_parts(transform))
    if adapter is None:
        return PictureTransform(transform) if getattr(transform, "takes_objects", False) is True else transform
    return adapter(transform)


def _adapter_of(kind: Any) -> Any:
    for base in getattr(kind, "__mro__", ()):
        if place := _ADAPTERS.get((base.__module__, base.__name__)):
            module, _, name = place.partition(".")
            return getattr(import_module(f"{__package__}.{module}"), name)
    return None


def _with_parts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose arguments are built where they are configs of transforms, or lists of them."""
    return {name: _built(value) if name != "type" else value for name, value in config.items()}


def _built(value: Any) -> Any:
    if isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        return [_built(each) for each in value]
    if isinstance(value, Mapping) and isinstance(value.get("type"), str):
        check_part(value, TRANSFORMS)
        return TRANSFORMS.build(_with_parts(value))
    return value
