# Fine-tuning of ViT-B in facebookresearch/mae, FINETUNE.md; the configs of other sizes have the differences.
base_lr = 5e-4  # per 256 images, at the head; layer_decay lowers it towards the patch embedding
effective_batch_size = 1024  # processes x batch x accumulation; the accumulation follows
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.65),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=5, min_lr=1e-6)]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=100, val_interval=5)
