# Recipe of facebookresearch/capi, default_pretrain_config.yaml: two optimisers, 10 % warm-up, 80 % of a half cosine.
base_lr = 1e-3 * 256 / 16384  # per 256 images
effective_batch_size = 16384  # processes x batch x accumulation; the accumulation follows
_adamw = dict(type="AdamW", betas=(0.9, 0.95), eps=1e-8, fused=True)
_schedule = dict(type="WarmupCosineLR", warmup_epochs=640, min_lr=0.0, cosine_share=0.8)
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="OptimizersByPartConstructor",
    main=dict(
        optimizer=dict(_adamw, weight_decay=0.1),
        constructor="DefaultOptimWrapperConstructor",
        paramwise_cfg=dict(custom_keys=dict(patch_embed=dict(lr_mult=0.2), norm=dict(decay_mult=0.1))),
    ),
    clusters=dict(parts="target", optimizer=dict(_adamw, lr=5e-4, weight_decay=0.01)),
)
param_scheduler = dict(main=[_schedule], clusters=[_schedule])
train_cfg = dict(type="ResumableTrainLoop", max_epochs=6400, val_interval=40)
