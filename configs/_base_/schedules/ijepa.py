# Recipe of facebookresearch/ijepa, configs/in1k_vith14_ep300.yaml: weight decay rises by half a cosine.
_base_ = "mae.py"

base_lr = 1.25e-4  # 1e-3 at the batch of 2048
effective_batch_size = 2048
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), weight_decay=0.04))
param_scheduler = [
    dict(type="WarmupCosineLR", warmup_epochs=40, start_lr=2e-4, min_lr=1e-6),
    dict(
        type="CosineAnnealingParamScheduler",
        param_name="weight_decay",
        eta_min_ratio=10.0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=300)
