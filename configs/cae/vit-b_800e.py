"""CAE with the tokens of BEiT v2's tokenizer, ViT-B/16, 800 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/cae/vit-b_800e.py [--data FOLDER], after
    python tools/convert_tokenizer.py vqkd_encoder_base_decoder_3x768x12_clip.pth --out data/tokenizers/vqkd_clip.pth
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: with DALL-E's tokens 68.9 % by a linear, 75.9 % by an attentive probe, 83.8 % fine-tuned, 49.7 mIoU on ADE20K
    (Atten4Vis/CAE); quoted, not run by us.
Deviations from Atten4Vis/CAE: the tokens, whose network maetool does not have; the tokenizer sees the same crop at 224
    pixels; the encoder of the alignment drops no paths; and those that all recipes share (docs/methods/README.md).
"""

_base_ = [
    "../_base_/encoders/vit-b.py",
    "../_base_/models/cae.py",
    "../_base_/datasets/imagenet.py",
    "../_base_/schedules/cae.py",
    "../_base_/runtime/no_pictures.py",
]

model = dict(
    encoder=dict(_base_.encoder, drop_path_rate=0.1),
    decoder=dict(drop_path_rate=0.1),
    tasks=dict(
        codes=dict(
            decoder=dict(drop_path_rate=0.1),
            target=dict(
                type="TokenTarget",
                codebook="data/tokenizers/vqkd_clip.pth",
                source=dict(
                    type="FeatureTarget",
                    teacher=dict(_base_.encoder, pos_embed="learned"),
                    checkpoint="data/tokenizers/vqkd_clip.pth",
                    made_by="tools/convert_tokenizer.py, as docs/methods/beitv2.md says",
                    normalise="none",
                    teacher_mean=(127.5, 127.5, 127.5),
                    teacher_std=(127.5, 127.5, 127.5),
                ),
            ),
        )
    ),
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="RandomResizedCrop", scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
            dict(type="RandomHorizontalFlip", p=0.5),
        ]
    )
)
