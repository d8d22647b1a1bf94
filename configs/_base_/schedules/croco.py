# Recipe of naver/croco, pretrain.py: 400 epochs of a cosine of 800, of which 40 are the warm-up.
_base_ = "mae.py"

effective_batch_size = 256
param_scheduler = [dict(type="WarmupCosineLR", warmup_epochs=40, min_lr=0.0, cosine_share=360 / 760)]
train_cfg = dict(max_epochs=400)
