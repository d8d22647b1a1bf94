# ViT-L/16 with windows, as in ViTDet.
_base_ = "vit-l.py"

encoder = dict(type="WindowedTransformer", img_size=1024, window_size=14, global_blocks=(5, 11, 17, 23))
