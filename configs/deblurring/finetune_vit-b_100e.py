"""Fine-tuning on blurred ultrasound images, ViT-B/16, at 224 pixels.

Command: python tools/train.py configs/deblurring/finetune_vit-b_100e.py --init CHECKPOINT --data FOLDER
Hardware: any; the effective batch of 256 is accumulated. Hours: not measured by us.
Expect: no number of ViT-B is published; see docs/methods/deblurring.md.
Deviations from openmedlab/DeblurringMIM: those that all recipes share (docs/methods/README.md); 100 epochs, where it
    stops when 200 epochs brought nothing; the crop is blurred instead of the stored image; biases and norms do not
    decay.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/finetune.py",
    "../_base_/datasets/imagenet_finetune.py",
    "../_base_/schedules/finetune.py",
    "../_base_/runtime/default.py",
]

_blur = dict(type="torchvision.transforms.v2.GaussianBlur", kernel_size=9, sigma=1.1)

model = dict(
    encoder=dict(_base_.encoder, drop_path_rate=0.1),
    data_preprocessor=dict(mixup_alpha=0.0, cutmix_alpha=0.0),
)
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=[*_base_.train_dataloader.dataset.pipeline, _blur]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.val_dataloader.dataset.pipeline, _blur]))
base_lr = 1e-4  # per 256 images
effective_batch_size = 256
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=1.0), optimizer=dict(weight_decay=0.01))
