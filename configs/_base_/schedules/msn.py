# Recipe of facebookresearch/msn, configs/pretrain/msn_vits16.yaml: schedules of 1,000 epochs that end after 800.
_base_ = "mae.py"

base_lr = 2.5e-4  # 1e-3 at the batch of 1024
effective_batch_size = 1024
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.999), weight_decay=0.04), clip_grad=dict(max_norm=3.0))
param_scheduler = [
    dict(
        type="WarmupCosineLR",
        warmup_epochs=15,
        start_lr=2e-4,
        min_lr=1e-6,
        cosine_share=785 / 985,
    ),
    dict(
        type="CosineAnnealingParamScheduler",
        param_name="weight_decay",
        T_max=1000,
        eta_min_ratio=10.0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=800)
