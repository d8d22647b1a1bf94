"""Everything that trains: the runner, its loop, hooks, optimisers, schedules, resuming and stopping."""

from maetool._lazy import lazily

__all__ = ["MaetoolRunner"]
__getattr__ = lazily(__name__, {"runner": ["MaetoolRunner"]})
