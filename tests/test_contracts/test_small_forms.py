"""Parts say their small form for `--debug` by `debug_arguments`; nothing else knows their arguments."""

import ast
import inspect
from typing import Any

import pytest
import torch
from mmengine import Config

import maetool.config.debug as debug
from maetool import registry
from maetool.annotations import parameters_of
from maetool.config.checks import check_config
from maetool.config.debug import shrink
from maetool.config.load import load_config
from maetool.data import ShapesDataset
from maetool.data.datasets import ImageDataset
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.registry import DATASETS, DECODERS, ENCODERS, MASKERS, TARGETS
from maetool.targets import FeatureTarget

# BranchDecoder is as wide as the model's own decoder, and the depth of ProjectionDecoder is of linear maps.
OF_BLOCKS = [name for name, part in sorted(DECODERS.parts().items()) if "depth" in parameters_of(part)]
NEEDY = {"TimmEncoder", "StreamTransformer"}  # what they are small by is tested below
SHAPES = "configs/mae/vit-t_shapes.py"
FULL = "configs/mae/vit-b_800e.py"


@pytest.fixture
def shrunk(repository):
    def shrunk(changes, config=SHAPES):
        """Return a config whose sections are changed, in its small form."""
        cfg = load_config(repository / config)
        for place, value in changes.items():
            cfg.merge_from_dict({place: {"_delete_": True, **value} if isinstance(value, dict) else value})
        shrink(cfg)
        return cfg

    return shrunk


@pytest.fixture
def register():
    added = []

    def register(parts, *classes):
        for cls in classes:
            parts.register_module(module=cls)
            added.append((parts, cls.__name__))

    yield register
    for parts, name in added:
        parts.module_dict.pop(name)


def test_no_argument_of_a_part_is_named_where_configs_are_shrunk():
    """But for what drawn pictures keep, the encoder of the model, and classes and targets in `metainfo`."""
    names = set()
    for parts in vars(registry).values():
        if isinstance(parts, registry.Registry) and parts is not registry.LOOPS:
            own = [cls for cls in parts.parts().values() if cls.__module__.startswith("maetool.")]
            names |= {name for cls in own for name in inspect.signature(cls).parameters}
    words = {node.value for node in ast.walk(ast.parse(inspect.getsource(debug))) if isinstance(node, ast.Constant)}
    words |= {node.attr for node in ast.walk(ast.parse(inspect.getsource(debug))) if isinstance(node, ast.Attribute)}
    assert {"depth", "codebook", "num_samples", "warmup_epochs"} <= names
    assert words & names <= {"pipeline", "in_chans", "encoder", "dataset", "type", "model", "classes", "targets"}


@pytest.mark.parametrize("name", [name for name in sorted(ENCODERS.parts()) if name not in NEEDY])
def test_every_encoder_is_small_though_its_config_states_nothing(name):
    stems = {"stems": {"image": {"type": "PatchStem"}}} if name == "StreamTransformer" else {}
    encoder = {"type": name, **stems}
    cfg = Config({"model": {"type": "ImageClassifier", "encoder": encoder, "num_classes": 3}, "train_cfg": {}})
    cfg.optim_wrapper = {}
    shrink(cfg)
    encoder = ENCODERS.build(cfg.model.encoder)
    assert sum(parameter.numel() for parameter in encoder.parameters()) < 5_000_000
    assert [side // step for side, step in zip(encoder.img_size, encoder.stride, strict=True)] == [4, 4]
    assert encoder(torch.zeros(1, 3, *encoder.img_size)).shape[2] == encoder.embed_dim


@pytest.mark.parametrize("patch_size", [1, 2, 3, (2, 8), 4, 16])
def test_small_pictures_can_be_drawn_whatever_the_patch(patch_size):
    encoder = {"type": "VisionTransformer", "img_size": 48, "patch_size": patch_size, "num_heads": 2}
    cfg = Config({"model": {"type": "ImageClassifier", "encoder": encoder, "num_classes": 3}, "train_cfg": {}})
    cfg.optim_wrapper = {}
    shrink(cfg)
    small = ENCODERS.build(cfg.model.encoder)
    assert ShapesDataset(1, small.img_size)[0]["inputs"].shape[1:] == small.img_size
    assert small.grid[0] * small.grid[1] <= 256


def test_timm_is_small_whatever_its_model():
    for name in ("vit_giant_patch14_224", "beit_large_patch16_224", "eva02_large_patch14_224", "vit_7b_patch16_dinov3"):
        model = {"type": "ImageClassifier", "encoder": {"type": "TimmEncoder", "name": name}, "num_classes": 3}
        cfg = Config({"model": model, "train_cfg": {}, "optim_wrapper": {}})
        shrink(cfg)
        encoder = ENCODERS.build(cfg.model.encoder)
        assert (encoder.img_size, encoder.grid, encoder.num_layers, encoder.embed_dim) == ((32, 32), (4, 4), 2, 32)


@pytest.mark.parametrize("ratios", [(0.985, 0.95), (0.95, None), (0.75, 0.5)])
def test_a_ratio_leaves_a_patch_of_the_small_grid_visible(shrunk, ratios):
    masker = {"type": "RandomMasker", "mask_ratio": ratios[0], "predict_ratio": ratios[1]}
    masker = MASKERS.build(shrunk({"model.masker": masker}).model.masker)
    assert masker.num_keep((4, 4)) >= 1
    assert ratios[0] > 0.9 or (masker.mask_ratio, masker.predict_ratio) == ratios


def test_a_decoder_of_ids_is_as_small_as_the_one_inside(shrunk):
    encoder = {"type": "StreamTransformer", "stems": {"codes": {"type": "TokenStem", "codebook": 1000}}}
    cfg = shrunk({"model.decoder": {"type": "CodebookDecoder", "decoder": {"type": "TransformerDecoder"}}}, FULL)
    facts = {"encoder_dim": 32, "grid": (4, 4), "encoder": ENCODERS.build({**encoder, "embed_dim": 32, "num_heads": 2})}
    facts |= {"out_dim": 1000}
    decoder = DECODERS.build(cfg.model.decoder, default_args={**facts, "facts": facts})
    assert len(decoder.decoder.blocks) == 2 and len(decoder.bias) == 1000
    assert sum(parameter.numel() for parameter in decoder.parameters()) < 2_000_000


@pytest.mark.parametrize(
    "name",
    ["LayerFusionDecoder", *(name for name in OF_BLOCKS if name not in ("BranchDecoder", "ProjectionDecoder"))],
)
def test_every_decoder_of_blocks_is_small(shrunk, name):
    needed = {"layers": [3, 12], "decoder": {"type": "TransformerDecoder"}} if name == "LayerFusionDecoder" else {}
    cfg = shrunk({"model.decoder": {"type": name, **needed}}, FULL)
    facts = {"encoder_dim": cfg.model.encoder.embed_dim, "out_dim": 12, "grid": (4, 4), "num_layers": 2}
    main = DECODERS.build({"type": "TransformerDecoder"}, default_args={**facts, "embed_dim": 256})
    decoder = DECODERS.build(cfg.model.decoder, default_args={**facts, "facts": facts, "main_decoder": main})
    number = 1 if name == "BranchDecoder" else 2  # which comes beside another one
    assert len(getattr(decoder, "decoder", decoder).blocks) == number
    assert max(getattr(decoder, "layers", [0])) <= 2
    assert sum(parameter.numel() for parameter in decoder.parameters()) < 2_000_000


def test_a_teacher_is_like_the_encoder_and_its_file_is_not_read(shrunk):
    target = {"type": "FeatureTarget", "checkpoint": "gone.pth", "resize": True, "layers": [-1, 7]}
    target["teacher"] = {"type": "TimmEncoder", "name": "vit_base_patch16_clip_224"}
    cfg = shrunk({"model.target": target})
    assert cfg.model.target.teacher == cfg.model.encoder
    assert (cfg.model.target.checkpoint, cfg.model.target.layers) == (None, [-1, 2])
    assert "resize" not in cfg.model.target


class OwnDepth(VisionTransformer):
    """Has an argument of maetool's with another meaning, and one more."""

    def __init__(self, depth: str = "deep", embed_dim: int = 64, num_heads: int = 4, extra: int = 1):
        super().__init__(32, 8, 3, embed_dim, 1, num_heads)
        self.given = (depth, extra)


class OwnTeacher(FeatureTarget):
    """Takes its teacher from elsewhere: a name."""

    def __init__(self, teacher: str, grid: Any, patch_size: Any):
        super().__init__({"type": "VisionTransformer"}, grid, patch_size)


def test_what_a_subclass_means_by_a_name_is_its_own(shrunk, register):
    register(ENCODERS, OwnDepth)
    register(TARGETS, OwnTeacher)
    cfg = shrunk(
        {"model.encoder": {"type": "OwnDepth", "depth": "deeper", "num_heads": 2, "extra": 5}}
        | {"model.target": {"type": "OwnTeacher", "teacher": "somebody"}}
    )
    assert cfg.model.encoder == {"type": "OwnDepth", "depth": "deeper", "num_heads": 2, "extra": 5, "embed_dim": 32}
    assert cfg.model.target == {"type": "OwnTeacher", "teacher": "somebody"}


class Sized(RandomMasker):
    """Says its small form by a function of what the config states and the class's defaults."""

    def __init__(self, mask_ratio=0.75, width: int = 64, layers: Any = None, cache: str | None = "there"):
        super().__init__(mask_ratio)

    @staticmethod
    def debug_arguments(arguments):
        sizes = {"width": arguments["width"] // 32, "layers": arguments["encoder"]["depth"]}
        return {**sizes, "cache": ...}


class Misspelt(Sized):
    """Names an argument that there is not."""

    debug_arguments = {"widht": 1}


class Failing(Sized):
    """Fails."""

    @staticmethod
    def debug_arguments(arguments):
        return {"width": arguments["wdith"]}


class Unchanged(Sized):
    """Wants no small form."""

    debug_arguments = {}


def test_a_small_form_by_a_function(shrunk, register):
    register(MASKERS, Sized, Misspelt, Failing, Unchanged)
    assert shrunk({"model.masker": {"type": "Sized", "cache": "file"}}).model.masker == {
        "type": "Sized",
        "width": 2,
        "layers": 2,
    }
    assert shrunk({"model.masker": {"type": "Sized", "width": 128}}).model.masker.width == 4
    assert shrunk({"model.masker": {"type": "Unchanged", "width": 9}}).model.masker == {"type": "Unchanged", "width": 9}
    with pytest.raises(UsageError, match="Misspelt has no argument `widht`"):
        check_config(shrunk({"model.masker": {"type": "Misspelt"}}))
    with pytest.raises(
        UsageError, match=r"small form of Failing cannot be built \(KeyError: 'wdith'.*: correct its deb"
    ):
        shrunk({"model.masker": {"type": "Failing"}})


class Bucket(ImageDataset):
    """Reads images of its own, and has arguments of maetool's for something else."""

    def __init__(
        self, root: str, limit: str = "soft", num_samples: int = 99, labels_fraction: str = "all", pipeline=()
    ):
        super().__init__(pipeline)


class Folder(Bucket):
    """Says which argument names its files, and what its small form is."""

    files_in = "root"
    debug_arguments = {"num_samples": 3}


def test_datasets_of_others(shrunk, register, tmp_path):
    register(DATASETS, Bucket, Folder)
    own = {"type": "Bucket", "root": "s3://gone", "limit": "hard", "num_samples": 50, "labels_fraction": "some"}
    assert shrunk({"train_dataloader.dataset": dict(own)}).train_dataloader.dataset == own
    cfg = shrunk({"train_dataloader.dataset": {**own, "type": "Folder", "root": str(tmp_path)}})
    assert cfg.train_dataloader.dataset == {**own, "type": "Folder", "root": str(tmp_path), "num_samples": 3}
    drawn = {"mae/vit-t_shapes": "ShapesDataset", "segmentation/linear_vit-t_shapes": "ShapesSegmentation"}
    drawn |= {"detection/vitdet_mask-rcnn_vit-t_shapes": "ObjectShapesDataset"}
    for config, name in drawn.items():
        cfg = shrunk({"train_dataloader.dataset": {"type": "Folder", "root": "gone"}}, f"configs/{config}.py")
        assert (cfg.train_dataloader.dataset.type, cfg.train_dataloader.dataset.num_samples) == (name, 8)


class Labelled(ShapesDataset):
    """Has classes of its own."""

    metainfo = {"classes": ("a", "b", "c")}


def test_a_model_gets_the_classes_that_a_dataset_always_has(shrunk, register):
    register(DATASETS, Labelled)
    place = "train_dataloader.dataset"
    cfg = shrunk(
        {place: {"type": "Labelled"}, "val_dataloader.dataset": {"type": "Labelled"}}, "configs/finetune/vit-b_100e.py"
    )
    assert (cfg.model.num_classes, cfg.train_dataloader.dataset.num_samples) == (3, 8)
    assert "num_classes" not in shrunk({place: {"type": "Labelled"}}).model


def test_a_dataset_in_a_wrapper_is_small_too(shrunk):
    inner = {"type": "ShapesDataset", "num_samples": 500}
    cfg = shrunk({"train_dataloader.dataset": {"type": "RepeatDataset", "times": 2, "dataset": inner}})
    assert cfg.train_dataloader.dataset.dataset.num_samples == 8


def test_streams_are_small_with_their_stems(shrunk):
    groups = {"type": "GroupStem", "groups": {"a": [0, 1], "b": [2]}, "img_size": 96, "patch_size": 8}
    code = {"stream_code": "concat", "code_dim": 256}
    encoder = {"type": "StreamTransformer", "stems": {"image": groups}, "embed_dim": 768, "num_heads": 2, **code}
    model = shrunk({"model.encoder": encoder, "model.decoder": {"type": "PredictorDecoder", **code}}).model
    built = ENCODERS.build(model.encoder)
    assert built.grids == {"a": (4, 4), "b": (4, 4)} and built.embed_dim == 32
    decoder = DECODERS.build(model.decoder, default_args={"encoder_dim": 32, "out_dim": 8, "grids": built.grids})
    assert decoder.embed_dim == 96 and len(decoder.blocks) == 2
    scaled = shrunk({"model.decoder": {"type": "ScaledDecoder", "layer": 2}}).model.decoder
    assert "code_dim" not in scaled


def test_a_bank_of_noise_has_few_pictures_of_their_size(shrunk):
    masker = shrunk({"model.masker": {"type": "ColorNoiseMasker", "mask_ratio": 0.95}}).model.masker
    assert (masker.bank_size, masker.mask_ratio) == ((16, 64, 64), 0.9)
    assert shrunk({"model.masker": {"type": "ColorNoiseMasker", "bank_size": (4, 8, 9)}}).model.masker.bank_size == (
        4,
        8,
        9,
    )
