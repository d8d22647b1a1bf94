"""MAE, a tiny ViT on drawn shapes of 32 pixels: the demo.

Command: python tools/train.py configs/mae/vit-t_shapes.py, or make demo
Hardware: two CPU cores, some three minutes.
"""

_base_ = [
    "../_base_/models/mae_vit-t.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=dict(img_size=32, patch_size=4, embed_dim=128, depth=4, num_heads=4),
    decoder=dict(embed_dim=96, depth=1, num_heads=4),
)
base_lr = 6e-3  # 1.5e-3 at the batch of 64
effective_batch_size = 64
optim_wrapper = dict(dtype="float32")
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=1, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=10, val_interval=2, val_at_start=True)
