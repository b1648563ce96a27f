# What a person types. `make venv` needs Python 3.11 or newer and this program, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TFLITE_BIN := .venv-tflite/bin
# tflite-runtime has no wheel for a newer Python (docs/decisions/0001).
HAS_311 := $(shell $(PYTHON) -c 'import sys; print("yes" if sys.version_info[:2] == (3, 11) else "")')

.PHONY: help venv demo check test proof soak bench-cloud test-tflite models lock docs clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(VENV)/ready ## make .venv with everything a laptop needs

$(VENV)/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d found; want 3.11 or newer: make PYTHON=python3.11 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv-tflite/ready: requirements/tflite.txt pyproject.toml
	$(PYTHON) -m venv .venv-tflite
	$(TFLITE_BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tflite.txt
	$(TFLITE_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: venv ## see it work: pictures, decisions, an output, events
	@$(BIN)/lookout demo

check: venv ## format, lint, types, arrows, the quick tests; under 90 s
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 -m "not slow"

test: check ## all that an ordinary user can run, on both runtimes where Python is 3.11
	$(BIN)/pytest -q -n 2 -m slow
	$(BIN)/pytest -q -m "not cloud" tests/system tests/faults
ifeq ($(HAS_311),yes)
	$(MAKE) test-tflite
else
	@echo "skipped: the same tests on tflite-runtime, which wants Python 3.11"
endif

proof: venv ## box, broker, bridge and Pub/Sub killed, cut off, cheated; access rules on a real broker
	$(BIN)/pytest -q -n 2 -m cloud tests/system tests/faults --ignore tests/faults/test_partitions.py --ignore tests/faults/test_soak.py
	# These ask how soon and how much: nothing runs beside them.
	$(BIN)/pytest -q tests/faults/test_partitions.py tests/faults/test_soak.py

soak: venv ## ten minutes at 200 events a second: does memory stay flat?
	$(BIN)/python -m tests.faults.soaking 600

bench-cloud: venv ## how fast bridge, local Pub/Sub and outbox are; wants a quiet machine
	$(BIN)/python -m tests.bench.bench_outbox
	$(BIN)/python -m tests.bench.bench_local_pubsub
	$(BIN)/python -m tests.bench.bench_bridge

test-tflite: .venv-tflite/ready
	LOOKOUT_RUNTIME=tflite-runtime $(TFLITE_BIN)/pytest -q -n 2 -m "not cloud"
	LOOKOUT_RUNTIME=tflite-runtime $(TFLITE_BIN)/pytest -q -m "not cloud" tests/system tests/faults

models: ## build the embedded bundles again from published weights (Python 3.11 or 3.12)
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python -m pip install --quiet --editable '.[train]'
	.venv-train/bin/python -m models.build.imagenet

docs: venv ## make the pages that come from the code
	$(BIN)/python -m docs.make

lock: ## lock the requirements again (needs uv)
	uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --constraint requirements/constraints.txt \
		--extra demo --extra usb --extra cloud --extra dev --group build --output-file requirements/dev.txt
	uv pip compile pyproject.toml --quiet --python-version 3.11 --python-platform linux --generate-hashes --no-emit-index-url --constraint requirements/constraints.txt \
		--extra demo --extra usb --extra cloud --extra dev --extra tflite --group build --no-emit-package ai-edge-litert --output-file requirements/tflite.txt

clean: ## remove what was made
	rm -rf .venv .venv-tflite .venv-train .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
