"""CCViT, ViT-B/16, 300 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/ccvit/vit-b_300e.py [--data FOLDER], after
    python tools/fit_centroids.py configs/ccvit/vit-b_300e.py [--data FOLDER]
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: 84.3 % top-1 fine-tuned, 51.6 mIoU on ADE20K (published abstract); quoted, not run by us.
Deviations from Cakeyan/CCViT_Public: those that all recipes share (docs/methods/README.md); k-means looks at 64 patches
    for each centroid; timm's initialisation, which is not cut at 0.02; the tables of relative positions and the mask
    token are decayed.
"""

_base_ = [
    "../_base_/encoders/beit-b.py",
    "../_base_/models/beit.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/beitv2.py",
    "../_base_/runtime/no_pictures.py",
]

codebook = "data/tokenizers/centroids_8192.pth"

model = dict(
    encoder=_base_.encoder,
    masker=dict(_delete_=True, type="AlsoVisibleMasker", masker=_base_.model.masker, number=20),
    corruption=dict(type="NearestCodeCorruption", codebook=codebook),
    target=dict(
        _delete_=True,
        type="TokenTarget",
        codebook=codebook,
        source=dict(type="PictureTarget", norm_pix_loss=False),
    ),
    head=dict(_delete_=True, type="ClassificationHead"),
    tasks=dict(
        pixels=dict(
            decoder=dict(type="ClassBottleneckDecoder", block="beit", early_layer=9, depth=2, layer_scale=0.1),
            target=dict(type="PictureTarget", norm_pix_loss=True),
            head=dict(type="RegressionHead", loss="l2"),
        ),
    ),
)
