# make demo: install and pretrain on drawn shapes.  make test: install and run the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := work_dirs/demo_$(shell date +%Y%m%d_%H%M%S)

.PHONY: demo test test-all test-fast test-wheel fuzz lint format typecheck docs clean

demo: $(VENV)/.installed
	@$(BIN)/python tools/train.py configs/mae/vit-t_shapes.py --work-dir $(RUN)

# Bytecode is kept, because the tests start hundreds of processes.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal

test: $(VENV)/.installed
	@$(PYTEST)

# Also what tests/slow_tests.py lists under WEEKLY.
test-all: $(VENV)/.installed
	@$(PYTEST) --weekly

test-fast: $(VENV)/.installed
	@$(PYTEST) -m "not slow"

# The wheel, installed alone and used from an empty folder.
test-wheel: $(VENV)/.installed
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_install.py

# FUZZ="--rounds 100 --kinds coco" chooses; see tests/fuzz/fuzz_run.py.
fuzz: $(VENV)/.installed
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_run.py $(FUZZ)

docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "Open build/site/index.html, or for its search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site"

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/codespell

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

typecheck: $(VENV)/.installed-typecheck
	@$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/.installed: setup.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("maetool needs Python 3.10 or newer, but $(PYTHON) is " + sys.version.split()[0] + ": run make with PYTHON=/path/to/a/newer/python3")'
	@echo "Installing maetool into $(VENV); the first time this downloads PyTorch and takes some minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

$(VENV)/.installed-typecheck: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[typecheck]"
	@touch $@
