# `make help` lists what there is. `make demo` and `make test` set everything up themselves.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with everything for development (a few minutes once, then seconds)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) on this machine; name one: make PYTHON=python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "make: OpenCV cannot load; a system library is missing. On Debian or Ubuntu: sudo apt-get install -y libgl1 libglib2.0-0" >&2; exit 1; }
	touch $(STAMP)

demo: setup ## corpus -> shards -> pretrain -> SFT -> RL -> PaCoRe on this machine, with a report to look at
	$(BIN)/step3vl run workflows/tiny/run.yaml

test: setup ## run the tests
	$(BIN)/pytest -q

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## time our parts beside their peers, as ratios
	$(BIN)/python tests/benchmarks/run.py

clean: ## remove what the demo made
	rm -rf runs
