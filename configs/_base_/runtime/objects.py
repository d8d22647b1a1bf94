# default.py for detectors: pictures of predicted objects.
_base_ = "default.py"

env_cfg = dict(cudnn_benchmark=False)  # images differ in size, and cuDNN would try its algorithms for each size again
custom_hooks = dict(masker_progress=None, pictures=dict(_delete_=True, type="ObjectsHook", interval=1))
