# default.py with pictures of the classes of pixels instead of reconstructions.
_base_ = "default.py"

custom_hooks = [
    dict(type="ProgressHook"),
    dict(type="BrokenFilesHook"),
    dict(type="NonFiniteHook", max_in_a_row=5),
    dict(type="DataWaitHook", threshold=0.3),
    dict(type="OverlayHook", interval=10),
    dict(type="LossCurveHook"),
]
