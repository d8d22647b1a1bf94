"""LocalMIM with HOG targets of 18 orientations, ViT-L/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/localmim/vit-l_800e.py [--data FOLDER]
Hardware: any; the effective batch of 4096 is accumulated. Hours: not measured by us.
Expect: 85.8 % top-1 fine-tuned on ImageNet-1K (Haoqing-Wang/LocalMIM); quoted, not run by us.
Deviations from Haoqing-Wang/LocalMIM: those that all recipes share (docs/methods/README.md); the gradients have no
    random bias (--hog_bias).
"""

_base_ = [
    "../_base_/encoders/vit-l.py",
    "../_base_/models/localmim.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/mae.py",
    "../_base_/runtime/no_pictures.py",
]

_decoder = dict(type="ScaledDecoder", embed_dim=256, depth=1, num_heads=8, shared_bias=True)
_head = dict(type="RegressionHead", loss="l2")
_target = dict(type="HOGTarget", nbins=18)

model = dict(
    encoder=_base_.encoder,
    decoder=dict(layer=24),
    target=dict(nbins=18),
    tasks=dict(
        _delete_=True,
        layer2=dict(decoder=dict(**_decoder, layer=2, scale=4), target=dict(**_target, cell_size=4), head=_head),
        layer4=dict(decoder=dict(**_decoder, layer=4, scale=2), target=dict(**_target, cell_size=8), head=_head),
        layer22=dict(decoder=dict(**_decoder, layer=22, scale=1), target=dict(**_target, cell_size=16), head=_head),
    ),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=1e-6)]
train_cfg = dict(max_epochs=800)
