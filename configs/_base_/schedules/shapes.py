# The recipe of schedules/mae.py for the drawn shapes: small batches, few steps.
base_lr = 6e-3  # 1.5e-3 at the batch of 64
effective_batch_size = 64
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="float32",
    # Changes results:
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05, fused=True),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=1, min_lr=0.0)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=10, val_interval=2, val_at_start=True)
