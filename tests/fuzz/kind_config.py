"""Configs in which one value, or a whole section, is of another kind; everything is built, and nothing trained."""

import logging
import os

from mmengine.logging import MMLogger

from maetool.config.load import load_for
from maetool.config.prepare import prepare_run
from maetool.engine.launch import build_runner, drop_missing_validation

MEMORY = 2**30
CONFIGS = (
    *(
        "mae/vit-t_shapes.py",
        "colormae/vit-t-schedule_shapes.py",
        "simmim/swin-t_shapes.py",
        "maskfeat/vit-t_shapes.py",
    ),
    *("mff/vit-t_shapes.py", "dbot/vit-t_shapes.py", "ccvit/vit-t_shapes.py", "finetune/vit-t_shapes.py"),
    *("segmentation/upernet_vit-t_shapes.py", "detection/vitdet_mask-rcnn_vit-t_shapes.py"),
)
NAN, HUGE = float("nan"), 10**30
ODD = (None, True, 2.0, -1, 0, 10**6, HUGE, -1e308, NAN, "x", "", "auto", [], {}, [None], ["x"], {"x": 1}, [[1], {}])
ODD += ({"type": "x"}, {"type": None}, {"type": 5}, [{"type": "RandomMasker"}], (1, 2), [1, 2, 3])


def places(value, path=()):
    """Yield the path of every value in a config, at any depth."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from places(part, (*path, number))


def changed(value, path, odd):
    """Return a copy of a value in which what stands at a path is replaced."""
    if not path:
        return odd
    if isinstance(value, dict):
        return {key: changed(part, path[1:], odd) if key == path[0] else part for key, part in value.items()}
    return type(value)(changed(part, path[1:], odd) if n == path[0] else part for n, part in enumerate(value))


def make_case(rng, folder):
    path = f"maetool::{rng.choice(CONFIGS)}"
    content = load_for(path)[0].to_dict()
    found = list(places(content))
    shallow = [place for place in found if len(place) <= 2]
    place, odd = rng.choice(shallow if rng.random() < 0.3 else found), rng.choice(ODD)
    debug, whole = rng.random() < 0.7, rng.random() < 0.1
    options = []
    if whole:
        debug = True
    elif rng.random() < 0.5:
        options = [f"{'.'.join(map(str, place))}={odd!r}"]
    else:
        text = "".join(f"{key} = {part!r}\n" for key, part in changed(content, place, odd).items())
        path = folder / "config.py"
        path.write_text(text.replace(" nan", ' float("nan")').replace("[nan", '[float("nan")'))
    return path, options, debug, whole, folder


def try_case(case):
    path, options, debug, whole, folder = case
    here = os.getcwd()
    os.chdir(folder)  # a work_dir may be of any name
    try:
        return _start(path, options, debug, folder)
    except AssertionError as error:  # which stands for a wrong result here
        raise RuntimeError("an assertion") from error
    except Exception:
        assert not whole
        raise
    finally:
        logging.shutdown()
        MMLogger._instance_dict.clear()  # whose files are gone before the next case
        os.chdir(here)


def _start(path, options, debug, folder):
    cfg, _ = load_for(path, options, flags={"work_dir": str(folder / "work")}, debug=debug)
    if not debug:
        prepare_run(cfg)  # of the size that it has; building that would take minutes
        return "right"
    drop_missing_validation(cfg)
    runner = build_runner(cfg)
    if runner._train_loop is None:
        return "right"
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    if runner._val_loop is not None:
        runner._val_loop = runner.build_val_loop(runner._val_loop)
    return "right"
