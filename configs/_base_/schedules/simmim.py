# Recipe of microsoft/SimMIM, configs/swin_base__800ep: rates there are per 512 images.
base_lr = 5e-5  # per 256 images
effective_batch_size = 2048
optim_wrapper = dict(
    # Changes results within rounding:
    type="AutocastOptimWrapper",
    dtype="auto",
    # Changes results:
    constructor="DecayGroupsConstructor",
    optimizer=dict(type="AdamW", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.005, by_epoch=True, end=10, convert_to_iter_based=True),
    dict(type="MultiStepLR", milestones=[700], gamma=0.1, by_epoch=True),
]
train_cfg = dict(type="ResumableTrainLoop", max_epochs=800, val_interval=20)
