"""Names that moved: the old place goes on for one minor version, with a warning that names the new one."""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Modules of 0.1.0, below `maetool`, to the places of what they held; maetool 0.3.0 removes them.
_MODULES = {
    "targets.teacher_weights": "teachers.weights",
    "engine.config": "config.load",
    "engine.config_checks": "config.checks",
    "engine.config_names": "config.names",
    "engine.config_origin": "config.origin",
    "engine.debug": "config.debug",
    "engine.user_data": "config.user_data",
    "engine.coco_places": "config.layouts.coco",
    "engine.provenance": "metadata.provenance",
    "convert": "weights.formats",
    "convert.architecture": "weights.formats.architecture",
    "convert.beitv2": "weights.formats.beitv2",
    "convert.formats": "weights.formats.table",
    "convert.mae": "weights.formats.mae",
    "convert.names": "weights.formats.key_map",
    "convert.openmmlab": "weights.formats.openmmlab",
    "convert.positions": "weights.formats.positions",
    "convert.timm": "weights.formats.timm",
    "convert.transformers": "weights.formats.transformers",
    "engine.checkpoint": "weights.write weights.work_dir weights.read parallel.loading engine.histories",
    "engine.blocks": "parallel.compiling parallel.blocks",
    "engine.sharding": "parallel.sharding parallel.optimizer_state",
    "engine.encoder": "pretrained.encoder",
    "engine.frozen": "pretrained.frozen pretrained.beside",
    "engine.initial": "pretrained.initial",
    "engine.export": "pretrained.export pretrained.graphs",
    "engine.convert": "pretrained.convert",
    "engine.model_card": "pretrained.card",
    "engine.extract": "pretrained.extract",
    "engine.predict": "pretrained.predict",
    "engine.predict_objects": "pretrained.predict_objects",
    "engine.quick": "pretrained.quick_eval",
    "evaluation.quick": "evaluation.feature_scores",
    "engine.classification": "evaluation.classes",
    "engine.segmentation": "evaluation.pixels",
    "engine.detection": "evaluation.objects",
    "evaluation.segmentation": "evaluation.confusion",
    "engine.loops": "engine.train_loop",
    "engine.param_groups": "engine.optim.param_groups",
    "engine.layer_decay": "engine.optim.layer_decay",
    "engine.lars": "engine.optim.lars",
    "engine.schedules": "engine.optim.schedules",
    "engine.compare": "engine.sweep",
    "engine.components": "commands.list_components",
    "engine.doctor": "installation.trials",
    "data.file_index": "data.sources.file_index",
    "data.shards": "data.sources.packed.shards",
    "data.image_io": "data.codecs.images",
    "data.jpeg": "data.codecs.jpeg",
    "data.encoded_image": "data.codecs.encoded",
    "data.resize": "data.codecs.resize",
    "data.dense_transforms": "data.transforms.maps data.transforms.flips",
    "data.object_transforms": "data.transforms.boxes data.transforms.flips",
    "data.augment": "data.transforms.augment",
    "data.preprocessor": "data.transforms.preprocessor",
    "data.base": "data.datasets.base",
    "data.file_dataset": "data.datasets.file_dataset",
    "data.image_folder": "data.datasets.image_folder",
    "data.csv_dataset": "data.datasets.csv_table",
    "data.coco_dataset": "data.datasets.coco",
    "data.coco_file": "data.datasets.objects.coco_file",
    "data.coco_masks": "data.datasets.objects.masks",
    "data.objects": "data.datasets.detection",
    "data.segmentation": "data.datasets.segmentation",
    "data.dense": "data.datasets.dense",
    "data.shard_dataset": "data.datasets.shard_dataset",
    "data.labels": "data.datasets.labels",
    "data.broken_files": "data.datasets.broken_files",
    "data.subsets": "data.datasets.subsets",
    "data.scene": "data.drawn.scene",
    "data.shapes": "data.drawn.shapes",
    "data.shapes_segmentation": "data.drawn.shapes_segmentation",
    "data.object_shapes": "data.drawn.object_shapes",
    "data.layouts": "data.drawn.layouts",
    "data.statistics": "inspection.statistics inspection.pixels",
    "visualization.segmentation": "visualization.overlays",
    "visualization.objects": "visualization.boxes",
    "engine.files": "writing",
    "ops.attention": "ops.cpu",
    "ops.linear": "ops.cpu",
}
_REMOVED_IN = "0.3.0"


def moved(module: str, names: Mapping[str, str], removed_in: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module whose names moved.

    At the end of the old module: `__getattr__ = moved(__name__, {"Old": "maetool.room.New"}, "0.3.0")`.

    Args:
        module: the old module's own name.
        names: old name to the full path of the new one.
        removed_in: the version that no longer has the old names.
    """

    def getattr_of_module(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", names[name], removed_in)
        place, _, new = names[name].rpartition(".")
        return getattr(import_module(place), new)

    return getattr_of_module


class MovedModules:
    """Finds the modules of the last release under their old names; each name that is taken from one gives a warning.

    The last of Python's finders, so that it is asked for nothing that exists.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to import the old module `name`; None for any other, which another finder may know."""
        old = name.removeprefix("maetool.")
        if old not in _MODULES or old == name:
            return None
        was_package = any(other.startswith(f"{old}.") for other in _MODULES)
        return ModuleSpec(name, _Mover(_MODULES[old].split()), is_package=was_package)


class _Mover(Loader):
    def __init__(self, places: list[str]) -> None:
        self.places = [f"maetool.{place}" for place in places]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python create an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Let the module hand on what is in its new places."""

        def getattr_of_module(name: str) -> Any:
            for place in [] if name.startswith("__") else self.places:
                if hasattr(new := import_module(place), name):
                    _warn(f"{module.__name__}.{name}", f"{place}.{name}", _REMOVED_IN)
                    return getattr(new, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__doc__ = f"The old place of what is in {', '.join(self.places)}; maetool {_REMOVED_IN} removes it."
        vars(module)["__getattr__"] = getattr_of_module


def _warn(old: str, new: str, removed_in: str) -> None:
    sentence = f"{old} is now {new}; maetool {removed_in} removes the old name."
    warnings.warn(sentence, DeprecationWarning, stacklevel=3)


def install() -> None:
    """Let Python find the modules that moved."""
    sys.meta_path.append(MovedModules)
