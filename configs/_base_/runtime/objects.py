# default.py for detectors: pictures of what is found.
_base_ = "default.py"

custom_hooks = [
    dict(type="ProgressHook"),
    dict(type="BrokenFilesHook"),
    dict(type="NonFiniteHook", max_in_a_row=5),
    dict(type="DataWaitHook", threshold=0.3),
    dict(type="ObjectsHook", interval=1),
    dict(type="LossCurveHook"),
]
