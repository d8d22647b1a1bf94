# UPerNet on ADE20K as mmsegmentation trains it after masked pretraining; other sizes have their differences.
base_lr = 1.6e-3  # per 256 images: 1e-4 at the batch of 16, at the heads; layer_decay lowers it towards the embedding
effective_batch_size = 16  # processes x batch x accumulation; the accumulation follows
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="LayerDecayConstructor",
    paramwise_cfg=dict(layer_decay=0.65),
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, begin=0, end=1, convert_to_iter_based=True),
    dict(type="PolyLR", power=1.0, eta_min=0.0, begin=1, convert_to_iter_based=True),  # a straight line to 0
]
sync_bn = "torch"  # batch norms use the statistics of all processes, on accelerators
train_cfg = dict(type="ResumableTrainLoop", max_epochs=127, val_interval=10)
