# ViTDet's recipe for ViT-B in mmdetection, projects/ViTDet; the configs of other sizes have the differences.
base_lr = 4e-4  # per 256 images, at the heads: 1e-4 at the batch of 64
effective_batch_size = 64  # processes x batch x accumulation; the accumulation follows
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.7),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, fused=True),
)
param_scheduler = [
    # The published run takes 184,375 steps, warms up over 250 and lowers the rate at 163,889 and 177,546.
    dict(type="WarmupStepLR", warmup_epochs=0.135, milestones=(8 / 9, 26 / 27), gamma=0.1)
]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=100, val_interval=5)
