"""`--data`: rewrites a config's dataloaders for the user's dataset."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine import Config

from maetool._deprecated import moved
from maetool.data.datasets.labels import labels_of
from maetool.data.datasets.segmentation import CLASSES_FILE, read_classes
from maetool.data.sources.file_index import refuse_missing
from maetool.data.sources.urls import is_url
from maetool.errors import UsageError
from maetool.registry import DATASETS, MODELS, find_part

from .complete import channels_of_inputs
from .facts import CLASS_TASKS, TASKS, argument_of, loaders_of, takes, task_in
from .layouts.coco import coco_places
from .layouts.masks import find_masks
from .layouts.places import all_images as all_images  # re-exported: callers ask here for what --data means
from .layouts.places import places as places
from .replaced import FILES, check_known, check_reads_pictures, replaced, same_samples

# What is true of all files of one data set, so that an option for training applies to validation.
_FACTS = (
    *("zero_is_ignored", "ignore_index", "image_suffix", "annotation_suffix", "classes", "palette", "nodata", "exif"),
    *(
        "targets",
        "uncertain",
        "missing",
        "eight_bit",
        "backend",
        "max_pixels",
        "group_column",
        "label_columns",
        "fold",
        "labelled",
    ),
)


def use_data(cfg: Config, data: str, adopt: bool = True) -> None:
    """Point all loaders of a config at the user's images.

    The data may be one of these; after the colon stands what validation uses:

    - a folder with `train` and `val` inside, or any usual names of these parts, of images or of shards that `maetool
      prepare_dataset` wrote: `val`; class folders in it give the labels, and the parts may lie inside of these,
    - a folder with the tables `train.csv` and `val.csv` inside, see `CsvDataset`: `val.csv`,
    - one table (csv or Parquet) with a column such as `split` that names the parts: the rows of `val`,
    - one table, which may be the `train.csv` of a folder, or for a model with classes a folder of class folders: a
      fifth of each class, which is held out,
    - for a detector a folder of annotations of COCO, YOLO or Pascal VOC, see `coco_places`,
    - for a segmentor the folder of a complete data set, laid out as the config says, or like ADE20K if the config
      draws its data, or with folders of masks beside those of images; a `classes.txt` in it replaces the classes of the
      config,
    - an archive, database or URL with the usual names of parts inside, or archives with such names: `val`,
    - otherwise any folder, text list, archive, database or URL, see `source_for`: 1,000 of the training images.

    Evaluators are fitted on the training images if these have labels. One with its own `dataloader` keeps it, unless
    that holds the samples of validation with other transforms.

    Args:
        cfg: the config, changed in place.
        data: folder, text list or table.
        adopt: set `num_classes` and `multi_label` of the model to those of the data.

    Raises:
        UsageError: the data cannot be read, or has no labels although the model needs them.
    """
    point_at(cfg, data)
    if adopt:
        adopt_classes(cfg)


def point_at(cfg: Config, data: str, before: Config | None = None) -> None:
    """Point all loaders of a config at the user's images, and leave its model as it is; see `use_data`.

    Args:
        cfg: the config, changed in place.
        data: folder, text list or table.
        before: the config without the command line's options, which shows the config's own datasets; None means
            `cfg` itself.

    Raises:
        UsageError: data that the model's task or encoder does not read, or a task without data of its own.
    """
    _put_back_datasets(cfg, before or cfg)
    task = _task(cfg)
    check_reads_pictures(cfg.model.get("encoder"))
    if is_url(data) and task in ("segmentation", "detection"):
        raise UsageError(f"--data is {data}, but {task} reads its images from a folder on this machine: download them.")
    if task in ("segmentation", "detection", "regression") and not is_url(data):
        refuse_missing(data)  # which layouts of these tasks would call a folder without what they look for
    if task == "segmentation":
        _use_pixels(cfg, data)
        return
    train, val = (
        coco_places(Path(data)) if task == "detection" else places(data, task in ("classification", "regression"))
    )
    if task == "regression":
        train, val = (_with_targets(place, cfg) for place in (train, val))
    if task == "detection" and takes(cfg.model, MODELS, "with_masks"):
        masks = argument_of(cfg.model, MODELS, "with_masks")
        train, val = ({**place, "with_masks": masks} for place in (train, val))
    if cfg.get("train_dataloader"):
        cfg.train_dataloader.dataset = replaced(cfg.train_dataloader.dataset, train, "train")
    if cfg.get("val_dataloader"):
        shown = cfg.val_dataloader.dataset
        cfg.val_dataloader.dataset = replaced(shown, val, "val")
        for evaluator in _evaluators(cfg.val_cfg):
            loader = evaluator.get("dataloader")
            if isinstance(loader, MutableMapping) and same_samples(loader["dataset"], shown):
                loader["dataset"] = replaced(loader["dataset"], val, "val")
        for owner, key in _banks(cfg.val_cfg):
            if not isinstance(owner.get(key), Mapping):  # `check_config` refuses what is neither this nor None
                continue
            bank = owner.pop(key)
            if val.get("with_labels") or val.get("labelled", "csv_file" in val):
                labels = {} if "csv_file" in train else {"with_labels": True}
                bank.dataset = replaced(bank.dataset, {**train, **labels}, "val")
                owner[key] = bank


def _banks(loop: Any) -> Iterator[tuple[Any, str]]:
    """Yield the owner and key of every loader of labelled bank images: the loop's own, and those of its evaluators."""
    loop = loop if isinstance(loop, Mapping) else {}
    yield loop, "bank_dataloader"
    yield from ((each, "bank") for each in _evaluators(loop) if "bank" in each)


def _evaluators(loop: Any) -> list[Any]:
    """Return the evaluators of a validation loop that are dicts; `check_config` refuses others."""
    evaluators = loop.get("evaluators") if isinstance(loop, Mapping) else None
    return (
        [each for each in evaluators.values() if isinstance(each, Mapping)] if isinstance(evaluators, Mapping) else []
    )


def _task(cfg: Config) -> str:
    task = task_in(cfg.model)
    if task not in TASKS:
        name, known = getattr(find_part(cfg.model.type, MODELS), "__name__", cfg.model.type), ", ".join(TASKS)
        states = "has no `task`" if task is None else f"is for the task {task}"
        raise UsageError(
            f"--data depends on the task of the model, but {name} {states}: add `task = ...` to the class, one of "
            f"{known}, or set the datasets in the config."
        )
    return task


def _put_back_datasets(cfg: Config, before: Config) -> None:
    """Undo options that changed a dataset which `point_at` replaces; they are applied again to the new dataset.

    A dataset whose class the options chose stays, unless it is one of the classes for the user's files.
    """
    earlier = dict(loaders_of(before))
    for name, loader in loaders_of(cfg):
        old, new = (each.get("dataset") for each in (earlier.get(name) or {}, loader))
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            continue
        chosen = new.get("type") != old.get("type") and new.get("type") not in FILES
        if not chosen and set(old) <= set(new):  # and not deleted
            loader.dataset = deepcopy(old)


def share_facts(cfg: Config, options: Sequence[str]) -> None:
    """Give the validation data those options of the training data that say how the user's files are to be read.

    One data set has one convention of masks and one column of groups; an option for validation itself is kept.

    Args:
        cfg: the config after `point_at`, changed in place.
        options: of --cfg-options, each `key.key=value`.
    """
    if not cfg.get("train_dataloader"):
        return
    keys = {option.partition("=")[0] for option in options}
    others = {"val_dataloader": cfg.get("val_dataloader")} if cfg.get("val_dataloader") else {}
    for owner, key in _banks(cfg.get("val_cfg") or {}):
        others |= {key: owner[key]} if owner.get(key) else {}
    for name in (name for name in _FACTS if f"train_dataloader.dataset.{name}" in keys):
        for place, loader in others.items():
            own = any(key.endswith(f"{place}.dataset.{name}") for key in keys)
            if not own and takes(loader.dataset, DATASETS, name):
                loader.dataset[name] = deepcopy(cfg.train_dataloader.dataset[name])


def _with_targets(place: Mapping[str, Any], cfg: Config) -> dict[str, Any]:
    """Return the place of a dataset with the columns to predict: those of the config, or else `label`.

    Raises:
        UsageError: the data is no table.
    """
    if place["type"] != "CsvDataset":
        raise UsageError(
            f"{cfg.model.type} predicts numbers from the columns of a table, but --data is no table: pass one."
        )
    return {**place, "targets": _learnt_from(cfg).get("targets") or "label"}


def _use_pixels(cfg: Config, data: str) -> None:
    masks = find_masks(Path(data)) if Path(data).is_dir() else None
    for part, folder in (("train", "training"), ("val", "validation")):
        loader = cfg.get(f"{part}_dataloader")
        if not loader:
            continue
        if not takes(loader.dataset, DATASETS, "annotations"):
            check_known(loader.dataset)
            pipeline = loader.dataset.get("pipeline", [])
            loader.dataset = {"type": "SegmentationDataset", "zero_is_ignored": True, "pipeline": pipeline}
            loader.dataset.update(images=f"images/{folder}", annotations=f"annotations/{folder}")
        loader.dataset.root = data
        if masks and _lacks(loader.dataset) and part in masks.folders:
            loader.dataset.update(masks.arguments(part))
        for old in ("classes", "palette") if (Path(data) / CLASSES_FILE).is_file() else ():
            loader.dataset.pop(old, None)


def _lacks(dataset: Mapping[str, Any]) -> bool:
    """Return whether the folders that a dataset of the config names are not there."""
    return not any(Path(dataset["root"], dataset[name]).is_dir() for name in ("images", "annotations"))


def adopt_classes(cfg: Config) -> None:
    """Set `num_classes` and `multi_label` of the model in `cfg` to those of its training data.

    Raises:
        UsageError: the data cannot be read, or has several labels per image, which the model does not support.
    """
    task = task_in(cfg.model)
    if task == "segmentation":
        root = Path(_learnt_from(cfg).get("root", ""))
        if (root / CLASSES_FILE).is_file():
            set_classes(cfg, len(read_classes(root)))
    elif task in ("classification", "detection"):
        _adopt_labels(cfg)
    elif task == "regression":
        set_targets(cfg, _learnt_from(cfg).get("targets", "label"))


def set_targets(cfg: Config, targets: str | Sequence[str]) -> None:
    """Set in `cfg` how many numbers, one for each of `targets`, a model of regression predicts; others stay."""
    if task_in(cfg.model) == "regression" and takes(cfg.model, MODELS, "num_targets"):
        cfg.model.num_targets = 1 if isinstance(targets, str) else len(targets)


def set_classes(cfg: Config, number: int) -> None:
    """Set the `number` of classes in `cfg` of a model that predicts classes and takes `num_classes`; others stay."""
    if task_in(cfg.model) in CLASS_TASKS and takes(cfg.model, MODELS, "num_classes"):
        cfg.model.num_classes = number


def _learnt_from(cfg: Config) -> Any:
    """Return the training dataset of a config, or that of validation where nothing is trained, as for kNN."""
    return (cfg.get("train_dataloader") or cfg.val_dataloader).dataset


def _adopt_labels(cfg: Config) -> None:
    in_chans = channels_of_inputs(cfg.model.get("encoder"))
    facts = {} if in_chans is None else {"in_chans": in_chans}
    dataset = DATASETS.build({**_learnt_from(cfg), "pipeline": [], **facts})
    labels = labels_of(dataset)
    set_classes(cfg, len(labels.classes))
    several = labels.values is not None and labels.values.ndim == 2
    if takes(cfg.model, MODELS, "multi_label"):
        cfg.model.multi_label = several
    elif several:
        raise UsageError(
            f"{cfg.model.type} takes one label per image, but the data has several: use a model with `multi_label`, "
            "or other data."
        )


def limit_pixels(dataset: MutableMapping[str, Any], max_pixels: int | None) -> None:
    """Set the largest number of pixels of an image that a dataset reads.

    Args:
        dataset: its config, changed in place.
        max_pixels: height * width at most; None leaves the config as it is.

    Raises:
        UsageError: the dataset reads no files.
    """
    if max_pixels is None:
        return
    if not takes(dataset, DATASETS, "max_pixels"):
        raise UsageError(f"--max-pixels applies to image files, but the dataset is {dataset['type']}: leave it out.")
    dataset["max_pixels"] = max_pixels


__getattr__ = moved(__name__, {"whole": "maetool.config.user_data.all_images"}, "0.3.0")
