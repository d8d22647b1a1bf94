# Linear probe of facebookresearch/mae, FINETUNE.md and main_linprobe.py.
base_lr = 0.1  # per 256 images
effective_batch_size = 16384  # processes x batch x accumulation; the accumulation follows
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="LARS", momentum=0.9, weight_decay=0.0, trust_coefficient=0.001),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=10, min_lr=0.0)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=90, val_interval=10)
