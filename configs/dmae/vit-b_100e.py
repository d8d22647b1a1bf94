"""DMAE, ViT-B/16 with MAE's ViT-L/16 as teacher, 100 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/dmae/vit-b_100e.py [--data FOLDER], after the teacher's file is in place, as
    docs/methods/dmae.md says. 98 % instead of 75 % removed: --cfg-options model.masker.mask_ratio=0.98
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 84.0 % top-1 fine-tuned on ImageNet-1K, 83.6 % with 95 % and 82.4 % with 98 % removed (UCSC-VLAA/DMAE); quoted,
    not run by us.
Deviations from UCSC-VLAA/DMAE: those that all recipes share (docs/methods/README.md); the map to the teacher's width
    begins as MAE's linear maps do instead of as PyTorch's.
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/mae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/default.py",
]

model = dict(
    encoder=_base_.encoder,
    target=dict(norm_pix_loss=False),
    tasks=dict(
        align=dict(
            at="visible",
            decoder=dict(type="VisibleDecoder", layer=9, predict_prefix=True),
            target=dict(
                type="FeatureTarget",
                teacher=dict(
                    type="VisionTransformer", img_size=224, patch_size=16, embed_dim=1024, depth=24, num_heads=16
                ),
                checkpoint="data/teachers/mae_visualize_vit_large.pth",
                made_by="facebookresearch/mae, which publishes it (docs/methods/dmae.md)",
                layers=[18],
                sees="visible",
                normalise="length",
                predict_prefix=True,
            ),
            head=dict(type="RegressionHead", loss="l1", normalise="length"),
        ),
    ),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=20, min_lr=0.0)]
train_cfg = dict(max_epochs=100)
