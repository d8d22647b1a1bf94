"""StoP (FlexPredict), ViT-H/16, 300 epochs on ImageNet-1K at 224 pixels; rate and weight decay stay from epoch 250 on.

Command: python tools/train.py configs/stop/vit-h_300e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: we quote no number of ViT-H.
Deviations from amirbar/StoP: those of configs/stop/vit-b_600e.py.
"""

_base_ = "vit-b_600e.py"

model = dict(
    encoder=dict(embed_dim=1280, depth=32, num_heads=16),
    decoder=dict(depth=12, num_heads=16, query_noise=0.2),
)
base_lr = 1.25e-4  # 1e-3 at the batch of 2048
param_scheduler = [
    dict(
        type="WarmupCosineLR",
        warmup_epochs=40,
        start_lr=2e-4,
        min_lr=1e-6,
        cosine_share=210 / 260,
        end=250,
    ),
    dict(
        type="CosineAnnealingParamScheduler",
        param_name="weight_decay",
        T_max=300,
        end=250,
        eta_min_ratio=10.0,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=300)
