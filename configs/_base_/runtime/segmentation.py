# default.py for segmentors: pictures of the classes of pixels.
_base_ = "default.py"

custom_hooks = dict(masker_progress=None, pictures=dict(_delete_=True, type="OverlayHook", interval=10))
