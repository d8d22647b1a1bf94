# The recipe of schedules/segmentation.py for the drawn shapes: small batches, few steps.
base_lr = 1.28e-2  # 1e-3 at the batch of 20, at the heads
effective_batch_size = 20
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype="float32",
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.65),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=1, min_lr=1e-6, convert_to_iter_based=True)]
train_cfg = dict(type="PretrainLoop", max_epochs=10, val_interval=5)
