# Recipe of gkakogeorgiou/attmask, README.md and main_attmask.py, which are iBOT's: weight decay rises by half a cosine.
_base_ = "mae.py"

base_lr = 5e-4  # per 256 images
effective_batch_size = 240
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), weight_decay=0.04), clip_grad=dict(max_norm=3.0))
param_scheduler = [
    dict(type="WarmupCosineLR", warmup_epochs=10, min_lr=1e-6),
    dict(
        type="CosineAnnealingParamScheduler",
        param_name="weight_decay",
        eta_min_ratio=10.0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=100)
