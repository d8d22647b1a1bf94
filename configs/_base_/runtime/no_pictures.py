# default.py for targets that cannot be turned back into pixels.
_base_ = "default.py"

custom_hooks = dict(pictures=None)
