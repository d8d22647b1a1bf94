# default.py for targets that cannot be turned back into pixels: without ReconstructionHook.
_base_ = "default.py"

custom_hooks = [
    dict(type="ProgressHook"),
    dict(type="MaskerProgressHook"),
    dict(type="BrokenFilesHook"),
    dict(type="NonFiniteHook", max_in_a_row=5),
    dict(type="DataWaitHook", threshold=0.3),
    dict(type="LossCurveHook"),
]
