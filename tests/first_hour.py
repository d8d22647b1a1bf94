"""The commands of the pages that a newcomer reads first, typed as they stand.

What a page leaves to its reader is filled in, and trainings that take days, hours or minutes are shortened by options
that the pages name themselves: `--debug`, or fewer images and epochs by `--cfg-options`.
"""

import re
import shlex

from doc_pages import ROOT, blocks_of, commands_in
from PIL import Image
from sklearn.datasets import load_sample_image

PAGES = ("README.md", "docs/get_started.md", "docs/your_images.md")
MADE_BEFORE = ("make", "pip")  # they make the environment, which the test has
PHOTOS = {"FOLDER": "photos", "LABELLED": "photos"}
FEW = ["train_dataloader.dataset.limit=8", "val_dataloader.dataset.limit=4", "train_dataloader.batch_size=8"]
FEW += ["effective_batch_size=8", "train_dataloader.num_workers=0", "val_dataloader.num_workers=0"]
DRAWN = [f"{name}.dataset.num_samples=16" for name in ("train_dataloader", "val_dataloader")]
DRAWN += ["train_dataloader.batch_size=16", "effective_batch_size=16"]
SHORTER = {  # by page and config, where later commands need the checkpoint; any other training gets --debug
    ("README.md", "mae/vit-b_800e"): [*FEW, "train_cfg.max_epochs=1", "param_scheduler.0.warmup_epochs=0"],
    ("README.md", "mae/vit-t_shapes"): [*FEW, "train_cfg.max_epochs=1", "param_scheduler.0.warmup_epochs=0"],
    ("docs/get_started.md", "mae/vit-t_shapes"): [*DRAWN, "val_cfg.bank_dataloader.dataset.num_samples=16"],
    ("docs/get_started.md", "finetune/vit-t_shapes"): DRAWN,
    ("docs/your_images.md", "mae/vit-t_shapes"): FEW,
}


def write_photos(folder):
    """Write crops of the two photographs that scikit-learn ships, in parts and classes."""
    for name in ("china", "flower"):
        photo = load_sample_image(f"{name}.jpg")
        for number in range(12):
            top, left = 25 * number, 40 * number
            path = folder / ("train" if number < 8 else "val") / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo[top : top + 120, left : left + 160]).save(path)


class Newcomer:
    """Types the commands of a page in a folder that holds `photos`, and for a clone's commands `tools` and `configs`.

    Args:
        folder: where the commands are typed.
        run: called with the words of a command; returns its exit code and all that it printed.
        instead: a config that stands for another one, to save time.
    """

    def __init__(self, folder, run, instead=("", "")):
        self.folder, self.run, self.instead, self.checkpoint = folder, run, instead, None

    def read(self, page):
        """Type all commands of a page in order, and return what went wrong."""
        blocks = [block for block in blocks_of(ROOT / page) if block.kind == "bash" and not block.not_run]
        commands = [command for block in blocks for command in commands_in(block.text)]
        return [wrong for command in commands if (wrong := self.type(page, command))]

    def type(self, page, command):
        """Type a command; return what went wrong, or ""."""
        words = [
            word.replace(*self.instead) if self.instead[0] else word for word in shlex.split(command, comments=True)
        ]
        if words[0] in MADE_BEFORE:
            return ""
        fill = {
            **PHOTOS,
            "CHECKPOINT": self.checkpoint,
            "WORK_DIR": self.checkpoint and self.checkpoint.rpartition("/")[0],
        }
        words = [fill.get(word, word) for word in words]
        if "train" in re.split(r"[ /.]", " ".join(words[:2])):
            words += self._shorter(page, words)
        code, printed = self.run(words)
        found = sorted(self.folder.glob("work_dirs/*/*.pth"), key=lambda path: path.stat().st_mtime_ns)
        self.checkpoint = str(found[-1].relative_to(self.folder)) if found else None
        return f"{page}: {shlex.join(words)}\n{printed[-3000:]}" if code or "Traceback" in printed else ""

    @staticmethod
    def _shorter(page, words):
        config = next(re.search(r"([\w-]+/[\w-]+)\.py$", word)[1] for word in words[2:] if word.endswith(".py"))
        options = SHORTER.get((page, config))
        if not options:
            return ["--debug"]
        return ["--cfg-options", *(each for each in options if "limit" not in each or "--data" in words)]
