# The recipe of schedules/linear_probe.py for the drawn shapes: small batches, few steps.
base_lr = 50.0  # 9.8 at the batch of 50: few steps need large ones
effective_batch_size = 50
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="float32",
    # Changes results:
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="LARS", momentum=0.9, weight_decay=0.0, trust_coefficient=0.001),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=1, min_lr=0.0)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=5, val_interval=5)
