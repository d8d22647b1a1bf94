# default.py for segmentors: pictures of predicted classes.
_base_ = "default.py"

custom_hooks = dict(masker_progress=None, pictures=dict(_delete_=True, type="OverlayHook", interval=10))
