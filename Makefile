PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-slow check bench clean

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

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: setup
	$(BIN)/python benchmarks/tiles.py

clean:
	rm -rf .venv demo
