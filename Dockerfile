# maetool in a container, built from its wheel.
#
#   docker build -t maetool .                                # for CPUs
#   docker build -t maetool --build-arg DEVICE=cu128 .       # for CUDA 12.8; the host needs NVIDIA's container toolkit
#   docker run --rm -v "$PWD:/work" maetool train maetool::mae/vit-t_shapes.py
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" maetool train CONFIG --data FOLDER

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY configs configs
COPY maetool maetool
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# cpu, or a CUDA version as PyTorch's index of wheels names it, such as cu128
ARG DEVICE=cpu
# Extras of setup.py, such as onnx,parquet
ARG EXTRAS=onnx,parquet

# What OpenCV's wheel links to
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/${DEVICE} "torch>=2.9" "torchvision>=0.24"
COPY --from=wheel /wheels /wheels
# onedl-mmcv is not needed, and all else has wheels, so no compiler is installed.
RUN pip install --no-cache-dir "$(echo /wheels/maetool-*.whl)[${EXTRAS}]" && rm -r /wheels

RUN useradd --create-home --uid 1000 maetool
USER maetool
WORKDIR /work
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["maetool"]
CMD ["doctor"]
