"""Installation; docs/dependencies.md gives the reason for each dependency and each bound."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "maetool" / "__init__.py").read_text(encoding="utf-8"))[1]
MMCV = "onedl-mmcv>=2.3.6"
ONNX = ["onnx>=1.18", "onnxscript>=0.6.2", "onnxruntime>=1.22"]
# Exact, so that a new release changes no formatting and no finding between two commits.
LINT = ["ruff==0.17.6", "codespell==2.4.3"]
# Before 70.1 setuptools builds no wheel by itself, and a test builds that of the example plugin.
REMOTE = ["fsspec>=2024.2", "aiohttp>=3.9"]
TEST = ["pytest>=8", "pytest-xdist>=3.2", "scikit-image>=0.22", "torchmetrics>=1.9", "setuptools>=70.1", MMCV, *ONNX]


class BuildWithConfigs(build_py):
    """Copies configs/ into the package, where `maetool::NAME` looks; an editable installation reads the checkout."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "maetool", ".mim", "configs")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / "configs", target, ignore=shutil.ignore_patterns("__pycache__"))


# What the package's page begins with; the README begins with commands for a clone.
USAGE = """# maetool

```bash
pip install PATH_OF_THE_WHEEL                # or that of a clone
maetool doctor                               # checks the installation
maetool train maetool::mae/vit-t_shapes.py   # pretrains a small masked autoencoder on drawn shapes, on a CPU
```

maetool needs Linux or macOS and Python 3.10 or newer. It is tested on Linux; on Windows use WSL 2.
"""


def description() -> str:
    """Return the README for those who install a wheel, without what works in a clone only.

    That is its first commands, pictures, links to its pages, and the table of these.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(?s)\A# maetool\s+```bash.*?```\n", USAGE, text)
    text = re.sub(r"(?ms)^## Where to go on$.*?(?=^## |\Z)", "", text)
    text = re.sub(r"(?m)^pip install \. .*\n", "", text)
    text = re.sub(r"(?s)\s+In a clone,.*?\.(?=\n\n)", "", text)
    dropped = re.compile(r"\A\s*Both commands need|!\[[^]]*\]\((?!https?:)")
    paragraphs = [part for part in text.split("\n\n") if not dropped.search(part)]
    return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", "\n\n".join(paragraphs))


setup(
    name="maetool",
    version=VERSION,
    description="A toolbox for masked image modelling: swappable maskers, encoders, decoders, targets and heads",
    long_description=description(),
    long_description_content_type="text/markdown",
    author="The maetool authors",
    license="Apache-2.0",
    keywords=["masked autoencoder", "masked image modelling", "self-supervised learning", "pretraining", "ViT"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["maetool", "maetool.*"]),
    package_data={"maetool": ["py.typed"]},
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["maetool=maetool.commands:main"]},
    install_requires=[
        "torch>=2.9",
        "torchvision>=0.24",
        "timm>=1.0.21",
        "onedl-mmengine>=0.10.12",
        "packaging>=22.0",
        "safetensors>=0.4.3",
        "numpy>=1.26",
        "opencv-python>=4.11.0.86",
        "Pillow>=10.1",
        "tifffile>=2023.7.4",
        "matplotlib>=3.8",
        "tqdm>=4.66",
        "scikit-learn>=1.4.2",
        "faster-coco-eval>=1.8",
        "pyyaml>=6.0",
        'setuptools; python_version >= "3.12"',
    ],
    extras_require={
        "test": TEST,
        "mmcv": [MMCV],
        "albumentations": ["albumentations>=2.0"],
        "kornia": ["kornia>=0.8"],
        "onnx": ONNX,
        "dev": [*TEST, *LINT, "pyarrow>=15"],
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6", "mkdocstrings[python]>=1.0", "ruff>=0.6"],
        "parquet": ["pyarrow>=15"],
        "tiff": ["imagecodecs>=2024.1.1"],
        "heif": ["pillow-heif>=0.16"],
        "medical": ["pydicom>=3.0", "nibabel>=5.2"],
        "lmdb": ["lmdb>=1.4"],
        "remote": REMOTE,
        "s3": [*REMOTE, "s3fs>=2024.2"],
        "gs": [*REMOTE, "gcsfs>=2024.2"],
        "huggingface": ["datasets>=2.18"],
        "typecheck": ["mypy==2.4.1"],
        "bench": ["transformers>=4.50", "lightly>=1.6", "scikit-image>=0.22"],
        "tensorboard": ["tensorboard>=2.16"],
        "wandb": ["wandb>=0.17"],
        "mlflow": ["mlflow>=3.0"],
        "aim": ["aim>=3.29"],
    },
)
