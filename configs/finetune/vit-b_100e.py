"""MAE fine-tuning, ViT-B/16, 100 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/finetune/vit-b_100e.py --init CHECKPOINT [--data FOLDER]
Hardware: any; the effective batch of 1024 is accumulated. Hours: not measured by us at this size.
Expect: 83.66 % top-1 from the published weights; four seeds gave 83.46 to 83.66; quoted, not run by us.
Deviations from facebookresearch/mae: bfloat16 where the device has it, instead of float16 with a loss scale; crops,
    colours, erasing and mixing are a function of the keys of the samples instead of the process's random state.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

model = dict(encoder=dict(_base_.encoder, drop_path_rate=0.1))
