"""MAE fine-tuning, ViT-L/16, 50 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/finetune/vit-l_50e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: 85.95 % top-1 from the published weights; quoted, not run by us.
Deviations from facebookresearch/mae: bfloat16 where the device has it, instead of float16 with a loss scale; crops,
    colours, erasing and mixing are a function of the keys of the samples instead of the process's random state.
"""

_base_ = [
    "../_base_/models/classifier_vit-l.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(drop_path_rate=0.2),
    pooling="avg",
    own_norm=True,
    head_std=2e-5,
    label_smoothing=0.1,
    data_preprocessor=dict(type="AugmentingPreprocessor", mixup_alpha=0.8, cutmix_alpha=1.0, erase_prob=0.25),
)
base_lr = 1e-3
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
train_cfg = dict(max_epochs=50)
