# Everything a person does with this repository. `make` alone prints this list.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
RUN := PYTHONWARNINGS=error $(BIN)/python
PEERS := feast quix pathway flink

# Hundreds of processes start: each would compile every library anew where the shell forbids to keep what was compiled.
test soak: export PYTHONDONTWRITEBYTECODE :=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements/run.txt requirements/dev.txt requirements/data.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; set PYTHON=/path/to/it")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check uv || echo 'uv cannot be had: pip does the same, slower'
	if [ -x $(BIN)/uv ]; then install="$(BIN)/uv pip install -q --python $(BIN)/python"; \
	else install="$(BIN)/pip install -q --disable-pip-version-check"; fi; \
	$$install --require-hashes -r requirements/dev.txt && $$install --require-hashes --no-deps -r requirements/data.txt
	touch $@

demo: .venv/ready ## real purchases through a real Kafka into Valkey, in 2 minutes (KEEP=1: stays up until Ctrl-C)
	$(BIN)/python -m demo $(if $(KEEP),--keep)

# Tests wait for servers now and then: three at once keep two cores busy.
test: .venv/ready ## every test, on Kafkas and Valkeys that it starts itself; then what they ran of each room
	$(BIN)/coverage erase
	$(RUN) -m coverage run -m pytest -n 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/coverage combine -q
	$(BIN)/python tests/covered.py

check: .venv/ready ## style, types, which package may import which, and that models/ is pure
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy models offline streams demo benchmarks tests
	$(BIN)/lint-imports
	$(BIN)/python tests/purity.py

bench: .venv/ready ## events per second and latency, beside an agent that handles one event at a time; a long history fitted
	$(BIN)/python -m benchmarks

# An environment of its own for each, for they stand in none of ours. What cannot be installed is passed over: its row says so.
build/peers/%/ready: benchmarks/peers/%/requirements.txt | .venv/ready
	rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	if [ -x $(BIN)/uv ]; then install="$(BIN)/uv pip install -q --python $(@D)/bin/python"; \
	else install="$(@D)/bin/pip install -q --disable-pip-version-check"; fi; \
	$$install --require-hashes -r $< && \
	{ [ ! -e $(<D)/connector.py ] || $(BIN)/python -m benchmarks.peers.$*.connector $(@D); } && \
	touch $@ || echo "$* is passed over: what it needs cannot be installed here"

bench-peers: .venv/ready $(PEERS:%=build/peers/%/ready) ## the product beside what one could pick instead, each in an environment of its own
	$(BIN)/python -m benchmarks.peers build/peers

soak: .venv/ready ## all faults at random times, for half an hour
	$(RUN) -m pytest tests -m soak --timeout 0 -s

clean: ## remove the environment and everything that was built
	rm -rf .venv build .hypothesis .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test check bench bench-peers soak clean
