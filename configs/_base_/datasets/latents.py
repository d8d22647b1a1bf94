# Latents of ImageNet's images, one .npy file each: they are neither cropped nor flipped.
_base_ = "imagenet.py"

train_dataloader = dict(dataset=dict(root="data/latents/train", pipeline=[]))
val_dataloader = dict(dataset=dict(root="data/latents/val", pipeline=[]))
val_cfg = dict(bank_dataloader=dict(dataset=dict(root="data/latents/train", pipeline=[])))
