PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo fuzz test test-slow test-avx2 test-lowest test-interop check docs dist tour bench clean

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

demo: setup
	$(BIN)/usrnet demo -o demo

test: setup
	$(BIN)/pytest -m 'not slow'

test-slow: setup
	$(BIN)/pytest -m slow

# What most laptops and desktops have: no AVX-512, no bfloat16, whatever this machine can do.
test-avx2: setup
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(BIN)/pytest -m 'not slow' \
	  tests/model tests/restoration tests/test_bench.py tests/test_device.py

# The oldest versions that pyproject.toml allows.
test-lowest: .venv-lowest/installed
	.venv-lowest/bin/pytest -m 'not slow' tests/kernels tests/degradation tests/io tests/model tests/cli \
	  tests/restoration/test_jobs.py tests/restoration/test_folder.py tests/test_portability.py

.venv-lowest/installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[test]'
	touch $@

# Bent files for every reader, SECONDS for each kind; what goes wrong is kept in build/fuzz.
SECONDS ?= 3600
fuzz: setup
	for what in pictures passed kernels; do \
	  PYTHONPATH=tests $(BIN)/python -m fuzz.run $$what --seconds $(SECONDS) --keep build/fuzz || exit 1; done

test-interop: setup
	tests/interop/run.sh

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m numpydoc lint $(wildcard src/usrnet/*.py src/usrnet/*/*.py src/usrnet/*/*/*.py)

# The site, into site/: strict, so that a broken link or a page that is nowhere in the navigation fails.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# The wheel and the sdist, built each in an empty environment, and what the package index would say to them.
dist: setup
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# The notebook from its script, executed.
tour: setup
	$(BIN)/jupytext --to ipynb examples/tour.py
	$(BIN)/jupyter-execute --inplace examples/tour.ipynb

bench: setup
	$(BIN)/python benchmarks/tiles.py

clean:
	rm -rf .venv .venv-lowest demo dist site
