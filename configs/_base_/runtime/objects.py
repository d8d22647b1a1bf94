# default.py for detectors: pictures of predicted objects.
_base_ = "default.py"

custom_hooks = dict(masker_progress=None, pictures=dict(_delete_=True, type="ObjectsHook", interval=1))
