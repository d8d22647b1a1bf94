"""LocalMIM with HOG targets of 18 orientations, Swin-B, 400 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/localmim/swin-b_400e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 84.1 % top-1 fine-tuned on ImageNet-1K (Haoqing-Wang/LocalMIM); quoted, not run by us.
Deviations from Haoqing-Wang/LocalMIM: those that all recipes share (docs/methods/README.md); the gradients have no
    random bias (--hog_bias); each image has its own mask, not each batch; windows of the stages 2 and 3 are cut where
    the tokens lie (docs/methods/localmim.md); mask tokens of the decoders are decayed.
"""

_base_ = [
    "../_base_/models/localmim_swin.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(encoder=dict(type="SwinTransformer", img_size=224, window_size=7, sees="visible", norm_eps=1e-6))
base_lr = 1e-4  # per 256 images
effective_batch_size = 2048
train_cfg = dict(max_epochs=400)
