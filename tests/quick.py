"""What the runners of hundreds of tests do alike, done once."""

from copy import copy
from functools import cache


def build_runners_quickly(replace=setattr):
    """Make MMEngine's runners describe the machine once, which starts a compiler, and share one empty figure.

    Nothing of maetool draws with the figure that a visualizer makes when it is built. Programs that begin cold show
    that the true functions work.

    Args:
        replace: called as `setattr`.
    """
    from mmengine.runner import runner
    from mmengine.visualization import Visualizer

    describe, draw = cache(runner.collect_env), Visualizer._initialize_fig
    figure = cache(lambda options: draw(None, dict(options)))
    replace(runner, "collect_env", lambda: copy(describe()))
    replace(Visualizer, "_initialize_fig", lambda self, options: figure(tuple(options.items())))
