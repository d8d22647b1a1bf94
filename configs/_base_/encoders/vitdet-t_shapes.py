# The tiny ViT of the drawn shapes with windows.
_base_ = "vit-t_shapes.py"

encoder = dict(type="WindowedTransformer", window_size=4, global_blocks=(1, 3))
