"""Everything that a person can get wrong gets one sentence: what was found, what was expected, what to do."""

import pytest
import torch
from PIL import Image
from warm import run_warm

from maetool.config.load import load_config, load_for
from maetool.engine import launch
from maetool.errors import UsageError
from maetool.registry import MASKERS, MODELS
from maetool.testing import tiny_config, tiny_model

SHAPES = "configs/mae/vit-t_shapes.py"
VIT_B = "configs/mae/vit-b_800e.py"


def build(repository, tmp_path, config=SHAPES, options=()):
    cfg = load_config(repository / config, options)
    cfg.work_dir = str(tmp_path / "work")
    return launch.build_runner(cfg)


def test_a_dress_rehearsal_on_data_that_is_not_there(repository):
    with pytest.raises(UsageError, match=r"--data is /not/there, which does not exist"):
        load_for(repository / SHAPES, data="/not/there", debug=True)
    _, sentences = load_for(repository / VIT_B, debug=True)
    assert "DEBUG: train_dataloader: data/imagenet/train does not exist, so drawn shapes replace it." in sentences


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["model.masker.type=RandmMasker"],
            r"no masker called `RandmMasker` .did you mean `RandomMasker`.*Loaded plugins",
        ),
        (["model.masker.type=no.such.Masker"], r"no masker called `no.such.Masker` \(ModuleNotFoundError"),
        (["model.masker.mask_ration=0.5"], r"no argument `mask_ration` .did you mean `mask_ratio`"),
        (["model.encodr.depth=2"], r"no argument `encodr` .did you mean `encoder`"),
        (["default_hooks.checkpoint.intervall=2"], r"no argument `intervall` .did you mean `interval`"),
        (["train_dataloader.dataset.num_sample=2"], r"no argument `num_sample` .did you mean `num_samples`"),
        (["model.masker.mask_ratio=1.0"], r"mask_ratio is 1.0, but must be a number between 0 and 1"),
        (["model.masker.mask_ratio=0"], r"mask_ratio is 0, but must be a number between 0 and 1"),
        (["model.masker.mask_ratio=lots"], r"mask_ratio is 'lots', but must be a number"),
        (["model.masker.mask_ratio=0.99"], r"leaves no visible patch of 16: use at most 0.93"),
        (["model.masker.mask_ratio=1e-8"], r"removes none of 16 patches"),
        (["model.encoder.patch_size=7"], r"32x32 pixels does not divide into patches of 7x7.*nearest.*is 35x35"),
        (["model.encoder.img_size=0"], r"img_size is 0, but must be a number from 1"),
        (["train_dataloader.dataset.img_size=64"], r"dataset has img_size=64x64, but the encoder has 32x32"),
        (["model.target.patch_size=4"], r"target has patch_size=4, but the encoder has \(8, 8\)"),
        (["model.target.in_chans=4"], r"target has in_chans=4, but the encoder has 3"),
        (["model.encoder.in_chans=5"], r"5 channels, but data_preprocessor gives 3 means"),
        (["train_dataloader.dataset.in_chans=4"], r"has in_chans=4, but the encoder has 3"),
        (["model.encoder.embed_dim=129", "model.encoder.num_heads=3"], r"embed_dim is 129, but sine-cosine"),
        (["model.encoder.num_heads=3"], r"embed_dim 128 does not divide into 3 heads"),
        (["model.head.loss=l3"], r"loss is 'l3', but must be one of l1, l2, smooth_l1"),
        (["optim_wrapper.dtype=float8"], r"float8.*must be"),
        (["optim_wrapper.optimizer.lr=0.1"], r"base_lr=0.006 and optimizer.lr=0.1: set only one"),
        (["effective_batch_size=100"], r"effective_batch_size is 100, but 1 process .*64 images at a time"),
        (["train_dataloader.dataset.num_samples=10"], r"10 images, fewer than one batch of 64"),
        (["param_scheduler.0.warmup_epochs=10"], r"warm-up takes 10 epochs of 10"),
        (["trian_cfg.max_epochs=3"], r"no `trian_cfg.max_epochs`; near names: train_cfg"),
        (["batch_size=8"], r"no `batch_size`; near names: train_dataloader.batch_size, val_dataloader.batch_size"),
        (["lr=1e-3"], r"no `lr`; near names: base_lr"),
        (
            ["model.target.type=HOGTarget"],
            r"no argument `norm_pix_loss`; .*; `_delete_=True` beside `type`",
        ),
        (["masker.mask_ratio=0.5"], r"near names: model.masker.mask_ratio\.$"),
        (["train_dataloader.batchsize=8"], r"train_dataloader has no argument `batchsize` .did you mean `batch_size`"),
        (["train_dataloader.batch_size=0"], r"train_dataloader.batch_size is 0, but must be a whole number above 0"),
        (["val_dataloader.num_workers=many"], r"val_dataloader.num_workers is 'many', but must be \"auto\" or a whole"),
        (["randomness.sed=3"], r"randomness has no argument `sed` .did you mean `seed`"),
        (["randomness.seed=abc"], r"randomness.seed is 'abc', but must be a whole number"),
        (["base_lr=fast"], r"base_lr is 'fast', but must be a number from 0"),
        (["gradient_checkpointing=maybe"], r"gradient_checkpointing is 'maybe', but must be True or False or a list"),
        (["custom_hooks=3"], r"custom_hooks is 3, but must be a list of hooks"),
        (
            ["custom_hooks.1=2.0"],
            r"custom_hooks.masker_progress is 2.0, but must be a dict with the name of a hook",
        ),
        (["default_hooks.logger=2"], r"default_hooks.logger is 2, but must be a dict with the name of a part"),
        (["model.encoder=2"], r"MaskedImageModel.encoder is 2, but must be a dict with the name of a part"),
        (["model.encoder=[None]"], r"MaskedImageModel.encoder.0 is None, but must be a dict"),
        (["model.decoder=[{'type':'LinearDecoder'}]"], r"MaskedImageModel.decoder is \[.*\], but must be a dict"),
        (["model.masker=[]"], r"MaskedImageModel.masker is \[\], but must be a dict"),
        (["model.data_preprocessor=[None]"], r"MaskedImageModel.data_preprocessor.0 is None, but must be a dict"),
        (["randomness.seed=4294967296"], r"seed is 4294967296, but must be a whole number from 0 to 4,294,967,295"),
        (["train_dataloader.num_workers=1000000"], r"num_workers is 1000000, but must be .* from 0 to 4,096"),
        (["param_scheduler=[None]"], r"param_scheduler.0 is None, but must be a dict with the name of a part"),
        (
            ["train_dataloader.dataset.pipeline=[None]"],
            r"pipeline.0 is None, but must be a dict with the name of a part",
        ),
        (["train_dataloader=2"], r"train_dataloader is 2, but must be a dict or None"),
        (["train_dataloader.dataset=None"], r"train_dataloader has no dataset"),
        (
            ["train_dataloader.dataset=x"],
            r"train_dataloader.dataset is 'x', but must be a dict with the name",
        ),
        (["train_dataloader.drop_last=2"], r"train_dataloader.drop_last is 2, but must be True or False"),
        (["randomness.deterministic=no"], r"randomness.deterministic is 'no', but must be True or False"),
        (["randomness.diff_rank_seed=off"], r"randomness.diff_rank_seed is 'off', but must be True or False"),
        (["env_cfg.cudnn_benchmark=yes"], r"env_cfg.cudnn_benchmark is 'yes', but must be True or False"),
        (["train_dataloader.collate_fn=2"], r"train_dataloader.collate_fn is 2, but must be a function, or a dict"),
        (["optim_wrapper=2"], r"optim_wrapper is 2, but must be a dict or None"),
        (["optim_wrapper.optimizer=2"], r"optim_wrapper.optimizer is 2, but must be a dict with the name of a part"),
        (["optim_wrapper.optimizer.eps=-1"], r"AdamW cannot be built \(ValueError: Invalid epsilon"),
        (["param_scheduler.0=2"], r"param_scheduler.0 is 2, but must be a dict with the name of a part"),
        (["env_cfg.mp_cfg=2"], r"env_cfg.mp_cfg is 2, but must be a dict"),
        (["env_cfg.mp_cfg.mp_start_method=2"], r"mp_start_method is '2', but must be fork, spawn or forkserver"),
        (["default_hooks.saving.interval=3"], r"hook config \{'interval': 3\} has no `type`"),
        (["_eval.batch_size=8"], r"no `_eval.batch_size`; near names: none"),
        (["xyzzy=1"], r"near names: none\.$"),
        (["base_lr"], r"`base_lr` has no value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_config(repository, tmp_path, options, sentence):
    def start():
        runner = build(repository, tmp_path, options=["model.encoder.patch_size=8", *options])
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.build_param_scheduler(runner.param_schedulers)

    with pytest.raises(UsageError, match=sentence) as info:
        start()
    assert "\n" not in str(info.value)


def test_two_sizes_in_one_config(repository, tmp_path):
    with pytest.raises(UsageError, match=r"RandomResizedCrop has size=192x192, but the encoder has 224x224"):
        build(repository, tmp_path, VIT_B, ["train_dataloader.dataset.pipeline.0.size=192"])


def test_missing_config(repository, monkeypatch):
    monkeypatch.chdir(repository)
    with pytest.raises(UsageError, match=r"There is no config configs/mae/vit-b_80e.py.*vit-b_800e.py"):
        load_config("configs/mae/vit-b_80e.py")


def test_config_with_a_syntax_error(tmp_path):
    (tmp_path / "x.py").write_text("model = dict(")
    with pytest.raises(UsageError, match=r"cannot be read \(SyntaxError"):
        load_config(tmp_path / "x.py")


def test_missing_type():
    with pytest.raises(UsageError, match=r"has no `type`: add one of .*RandomMasker"):
        MASKERS.build({"mask_ratio": 0.5})


def test_missing_argument():
    config = tiny_config()
    del config["head"]
    with pytest.raises(UsageError, match=r"MaskedImageModel needs the argument\(s\) head"):
        MODELS.build(config)


def test_a_name_taken_twice():
    def register(module):
        MASKERS.register_module(name="Taken", module=type("Taken", (), {"__module__": module}))

    register("first.package")
    try:
        with pytest.raises(UsageError, match=r"`Taken` is taken twice, by first.package and by second.package"):
            register("second.package")
    finally:
        MASKERS.module_dict.pop("Taken")


def test_images_that_do_not_fit():
    model = tiny_model()
    with pytest.raises(UsageError, match=r"17x32 pixels does not divide into patches of 8x4: .* 16x32"):
        model(torch.zeros(1, 3, 17, 32))
    with pytest.raises(UsageError, match=r"\(batch, 3, height, width\), but got \(1, 4, 16, 32\)"):
        model(torch.zeros(1, 4, 16, 32))
    with pytest.raises(UsageError, match=r"loader gives images of 4 channels, but the model takes 3"):
        model.data_preprocessor({"inputs": torch.zeros(1, 4, 16, 32)})
    with pytest.raises(UsageError, match=r"mode is 'train'"):
        model(torch.zeros(1, 3, 16, 32), mode="train")


def test_plan_for_other_images():
    model = tiny_model()
    plan = model.make_plan(torch.zeros(1, 3, 16, 32))
    with pytest.raises(UsageError, match="plan is for a grid of 2x8 patches, but the images have 2x4"):
        model(torch.zeros(1, 3, 16, 16), plan=plan)


def test_given_masks_with_unequal_counts():
    mask = torch.zeros(2, 16)
    mask[0, :12], mask[1, :10] = 1, 1
    with pytest.raises(UsageError, match=r"different numbers of patches \(4, 6\)"):
        tiny_model()(torch.zeros(2, 3, 16, 32), {"mask": mask})
    with pytest.raises(UsageError, match=r"mask has the shape \(2, 9\), but must be \(batch, 16\), \(batch, 2, 8\)"):
        tiny_model()(torch.zeros(2, 3, 16, 32), {"mask": torch.ones(2, 9)})


def tool(repository, *arguments):
    return run_warm(arguments, repository, 120)


def assert_one_sentence(result, *words):
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in result.stderr


def folder_of(tmp_path, **files):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def test_train_without_data(repository, tmp_path):
    result = tool(repository, "tools/train.py", VIT_B, "--work-dir", str(tmp_path / "w"))
    assert_one_sentence(result, "data/imagenet/train", "--data FOLDER")


def test_train_on_an_empty_folder(repository, tmp_path):
    folder = folder_of(tmp_path)
    result = tool(repository, "tools/train.py", VIT_B, "--data", str(folder), "--work-dir", str(tmp_path / "w"))
    assert_one_sentence(result, str(folder), "empty")


def test_train_on_a_folder_of_other_files(repository, tmp_path):
    folder = folder_of(tmp_path, a_txt=b"x", b_csv=b"y", c_csv=b"z")
    result = tool(repository, "tools/train.py", VIT_B, "--data", str(folder), "--work-dir", str(tmp_path / "w"))
    assert_one_sentence(result, str(folder), ".csv", ".jpg")


def test_train_on_images_that_are_all_broken(repository, tmp_path):
    folder = folder_of(tmp_path, **{f"{i}_jpg": b"not an image" for i in range(12)})
    result = tool(repository, "tools/train.py", VIT_B, "--data", str(folder), "--work-dir", str(tmp_path / "w"))
    assert_one_sentence(result, "12 of 12", "0.jpg")


def test_channels_that_the_files_do_not_have(repository, tmp_path):
    folder = folder_of(tmp_path)
    for i in range(8):
        Image.new("RGB", (64, 64), (i, 0, 0)).save(folder / f"{i}.png")
    options = ["model.encoder.in_chans=5", "model.data_preprocessor.mean=[0,0,0,0,0]"]
    options += ["model.data_preprocessor.std=[1,1,1,1,1]", "train_dataloader.batch_size=8", "effective_batch_size=8"]
    arguments = ["--data", str(folder), "--work-dir", str(tmp_path / "w"), "--cfg-options", *options]
    assert_one_sentence(tool(repository, "tools/train.py", VIT_B, *arguments), "channels", "5")


def test_init_from_a_file_that_is_not_there(repository, tmp_path):
    arguments = ["configs/linear_probe/vit-t_shapes.py", "--init", str(tmp_path / "no.pth")]
    result = tool(repository, "tools/train.py", *arguments, "--work-dir", str(tmp_path / "w"))
    assert_one_sentence(result, "no checkpoint", "no.pth")


@pytest.mark.parametrize("name", ["test.py", "visualize_reconstruction.py"])
def test_tools_refuse_bad_checkpoints(repository, tmp_path, name):
    other = tmp_path / "other.pth"
    torch.save({"state_dict": tiny_model().state_dict()}, other)
    assert_one_sentence(tool(repository, f"tools/{name}", SHAPES, str(other)), "another architecture")
    assert_one_sentence(tool(repository, f"tools/{name}", SHAPES, str(tmp_path / "no.pth")), "no checkpoint")


def test_help_is_quick_to_read(repository):
    for name in ("train.py", "test.py", "visualize_reconstruction.py"):
        result = tool(repository, f"tools/{name}", "--help")
        assert result.returncode == 0
        assert "config" in result.stdout
