"""CAE with the tokens of BEiT v2's tokenizer, ViT-L/16, 1,600 epochs on ImageNet-1K at 224 pixels.

Command: python tools/train.py configs/cae/vit-l_1600e.py [--data FOLDER], after the command of vit-b_800e.py
Hardware: any; the effective batch of 2048 is accumulated. Hours: not measured by us.
Expect: with DALL-E's tokens 77.8 % by a linear, 81.2 % by an attentive probe, 86.2 % fine-tuned, 54.9 mIoU on ADE20K
    (Atten4Vis/CAE); quoted, not run by us.
Deviations from Atten4Vis/CAE: those of configs/cae/vit-b_800e.py; weights begin as those of ViT-B, without the factors
    by depth for which the published script asks on a line that its shell does not read as part of the command.
"""

_base_ = "vit-b_800e.py"

model = dict(
    encoder=dict(embed_dim=1024, depth=24, num_heads=16, layer_scale=1e-5),
    decoder=dict(num_heads=16, layer_scale=1e-5),
    tasks=dict(codes=dict(decoder=dict(num_heads=16, layer_scale=1e-5))),
)
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, start_lr=1e-6, min_lr=1e-5)]
train_cfg = dict(max_epochs=1600)
