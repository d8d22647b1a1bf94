"""Installation; docs/dependencies.md gives the reason for each dependency and each bound."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "maetool" / "__init__.py").read_text())[1]
ONNX = ["onnx>=1.18", "onnxscript>=0.6.2", "onnxruntime>=1.22"]
# Before 70.1 setuptools builds no wheel by itself, and a test builds that of the example plugin.
TEST = ["pytest>=8", "pytest-xdist>=3.2", "scikit-image>=0.22", "torchmetrics>=1.9", "setuptools>=70.1", *ONNX]

setup(
    name="maetool",
    version=VERSION,
    description="A toolbox for masked image modelling: swappable maskers, encoders, decoders, targets and heads",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["maetool", "maetool.*"]),
    entry_points={"console_scripts": ["maetool=maetool.commands:main"]},
    install_requires=[
        "torch>=2.9",
        "torchvision>=0.24",
        "timm>=1.0.21",
        "onedl-mmengine>=0.10.12",
        "onedl-mmcv>=2.3.6",
        "safetensors>=0.4.3",
        "numpy>=1.26",
        "opencv-python>=4.11.0.86",
        "Pillow>=10.1",
        "tifffile>=2023.7.4",
        "matplotlib>=3.8",
        "tqdm>=4.66",
        "scikit-learn>=1.4.2",
        "faster-coco-eval>=1.8",
        'setuptools; python_version >= "3.12"',
    ],
    extras_require={
        "test": TEST,
        "onnx": ONNX,
        "dev": [*TEST, "ruff>=0.6", "codespell>=2.3", "pyarrow>=15"],
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6", "mkdocstrings[python]>=1.0", "ruff>=0.6"],
        "parquet": ["pyarrow>=15"],
        "typecheck": ["mypy>=2.4"],
        "bench": ["transformers>=4.50", "lightly>=1.6", "scikit-image>=0.22"],
        "tensorboard": ["tensorboard>=2.16"],
    },
)
