"""BEiT v2 with the published tokenizer, ViT-B/16, 300 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/beitv2/vit-b_300e.py [--data FOLDER], after
    python tools/convert_tokenizer.py vqkd_encoder_base_decoder_3x768x12_clip.pth --out data/tokenizers/vqkd_clip.pth
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: no published number of 300 epochs is at hand: 85.5 % top-1 fine-tuned, 53.1 mIoU on ADE20K are of 1600
    (microsoft/unilm); quoted, not run by us.
Deviations from microsoft/unilm: those that all recipes share (docs/methods/README.md); the tokenizer sees the same crop
    as the encoder instead of a second one of the same box without colour jitter, and there is no colour jitter; timm's
    initialisation, which is not cut at 0.02; the tables of relative positions and the mask token are decayed; the
    warm-up starts at 0.
"""

_base_ = [
    "../_base_/encoders/beit-b.py",
    "../_base_/models/beit.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/beitv2.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=_base_.encoder,
    target=dict(
        _delete_=True,
        type="TokenTarget",
        codebook="data/tokenizers/vqkd_clip.pth",
        source=dict(
            type="FeatureTarget",
            teacher=dict(
                type="VisionTransformer",
                img_size=224,
                patch_size=16,
                embed_dim=768,
                depth=12,
                num_heads=12,
                pos_embed="learned",
            ),
            checkpoint="data/tokenizers/vqkd_clip.pth",
            made_by="tools/convert_tokenizer.py, as docs/methods/beitv2.md says",
            normalise="none",
            teacher_mean=(127.5, 127.5, 127.5),
            teacher_std=(127.5, 127.5, 127.5),
        ),
    ),
    head=dict(_delete_=True, type="ClassificationHead"),
    tasks=dict(
        gathered=dict(
            decoder=dict(
                type="ClassBottleneckDecoder", block="beit", early_layer=9, depth=2, layer_scale=0.1, share_output=True
            ),
            head=dict(type="ClassificationHead"),
        ),
    ),
)
