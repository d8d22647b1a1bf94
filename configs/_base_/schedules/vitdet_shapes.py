# The recipe of schedules/vitdet.py for the drawn shapes: small batches.
base_lr = 0.064  # 2e-3 at the batch of 8, at the heads: narrow ones need a larger rate than wide ones
effective_batch_size = 8
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="float32",
    # Changes results:
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.7),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, fused=True),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=0.1, min_lr=1e-6)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=20, val_interval=10)
