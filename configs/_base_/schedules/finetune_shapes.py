# The recipe of schedules/finetune.py for the drawn shapes: small batches, few steps.
base_lr = 5e-3  # 1e-3 at the batch of 50, at the head
effective_batch_size = 50
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="float32",
    # Changes results:
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.65),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=1, min_lr=1e-6)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=5, val_interval=5)
