# Recipe of the MAE paper, table 8, and of facebookresearch/mae, PRETRAIN.md.
base_lr = 1.5e-4  # per 256 images
effective_batch_size = 4096  # processes x batch x accumulation; the accumulation follows
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", betas=(0.9, 0.95), eps=1e-8, weight_decay=0.05, fused=True),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=0.0)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=800, val_interval=20)
