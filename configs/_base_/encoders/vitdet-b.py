# ViT-B/16 with windows, as in ViTDet.
_base_ = "vit-b.py"

encoder = dict(type="WindowedTransformer", img_size=1024, window_size=14, global_blocks=(2, 5, 8, 11))
