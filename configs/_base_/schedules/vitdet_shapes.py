# The recipe of schedules/vitdet.py for the drawn shapes: small batches, few steps.
base_lr = 1.6e-2  # 1e-3 at the batch of 16, at the heads
effective_batch_size = 16
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    dtype="float32",
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.7),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, fused=True),
)
param_scheduler = [
    dict(type="WarmupStepLR", warmup_epochs=0.5, milestones=(8 / 9, 26 / 27), gamma=0.1, convert_to_iter_based=True)
]
train_cfg = dict(type="PretrainLoop", max_epochs=5, val_interval=5)
