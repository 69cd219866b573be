# One command each; `make help` lists them. What is set up once is remembered by the files in .venv and model_store.

VENV := .venv
PY := $(VENV)/bin/python
# the first of these that works and is new enough: a system's python3 may be older, a shim of pyenv may stand for nothing
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c '$(NEW_ENOUGH)' 2>/dev/null && command -v $$name && break; done)
VERSION ?= 1.0
# which packages of requirements.txt are there: for the service and its client, for training, for tests
INSTALLED := $(VENV)/.client
TRAINING := $(VENV)/.training
TESTS := $(VENV)/.tests
MUTANTS := $(VENV)/.mutants
JVM_CACHE := $(VENV)/torchserve.aot
ARGS ?=
# two files of tests at a time: most tests wait for a service
PYTEST = $(PY) -m pytest -n 2 --dist loadfile $(ARGS)
# the folder of another model (docs/own-model.md): its weights and its archive lie there
MODEL :=
ifeq ($(MODEL),)
MAR := model_store/mnist.mar
INPUTS := train/weights/mnist-classifier.pt
else
MAR := $(MODEL)/mnist.mar
INPUTS := $(wildcard $(addprefix $(MODEL)/,*.py *.json *.onnx weights.pt))
OF_MODEL := --model $(MODEL)
export MODEL_STORE := $(MODEL)
endif

.DEFAULT_GOAL := help
.PHONY: help serve setup mar rollout rollback test test-unit test-integration test-browser test-faults check train train-quick retrain evaluate robustness ablate bench soak chaos mutants report audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: setup $(MAR) ## set up where needed, then serve on port 3001 until Ctrl-C; MODEL=folder: another model
	@exec $(PY) -m serve

setup: $(INSTALLED) $(JVM_CACHE) ## virtual environment and the packages that serving needs

mar: $(INSTALLED) ## pack the archive; VERSION=1.1 names another version
	@$(PY) -m train pack --version $(VERSION) $(OF_MODEL) $(ARGS)

rollout: $(INSTALLED) ## change the running service to the packed archive without losing a request
	@$(PY) -m serve.rollout $(ARGS)

rollback: $(INSTALLED) ## return to the archive before the last rollout
	@$(PY) -m serve.rollout --back $(ARGS)

test: setup $(MAR) $(TESTS) ## all tests: unit, integration, faults
	@$(PYTEST) tests/unit tests/integration tests/faults

test-unit: $(TESTS) ## tests without a running service: under a minute
	@$(PYTEST) tests/unit

test-integration: setup $(MAR) $(TESTS) ## tests of the running service, in a browser too
	@$(PYTEST) tests/integration

test-browser: setup $(MAR) $(TESTS) ## only those in a browser
	@$(PYTEST) tests/integration -m browser

test-faults: setup $(MAR) $(TESTS) ## tests that kill processes, overload the service and stop it under load
	@$(PYTEST) tests/faults

check: $(TESTS) ## lint, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

train: $(TRAINING) ## train LeNet on MNIST and save its weights (docs/training.md)
	@$(PY) -m train fit $(OF_MODEL) $(ARGS)

train-quick: $(TRAINING) ## the same with a short plan, into run/train/: half a minute
	@$(PY) -m train fit --quick $(OF_MODEL) $(ARGS)

retrain: $(TRAINING) ## all that follows from the recipe: five seeds, verdicts, metrics, robustness, archive
	@$(PY) -m train fit --all-seeds $(ARGS)
	@$(PY) -m train calibrate
	@$(PY) -m train evaluate
	@$(PY) -m train robustness
	@$(PY) -m train pack --version $(VERSION)

evaluate: $(TRAINING) ## measure the weights; write metrics, the README's table and the figures
	@$(PY) -m train evaluate $(OF_MODEL) $(ARGS)

robustness: $(TRAINING) ## measure the weights on pictures unlike MNIST's
	@$(PY) -m train robustness $(ARGS)

ablate: $(TRAINING) ## what each step of the plan is worth
	@$(PY) -m train ablate $(ARGS)

bench: setup $(MAR) $(TESTS) ## measure speed against other servers
	@$(PY) -m bench $(ARGS)

soak: setup $(MAR) $(TESTS) ## mixed load; measures memory and descriptors: forty minutes
	@$(PY) -m tests.faults soak $(ARGS)

chaos: setup $(MAR) $(TESTS) ## break things under load and count what clients see
	@$(PY) -m tests.faults chaos $(ARGS)

mutants: setup $(MUTANTS) ## change the code in one place at a time; report what no unit test notices: an hour
	@$(PY) -m tests.mutants $(ARGS)

report: $(INSTALLED) ## sizes of the code: modules, lines, packages
	@$(PY) -m tests.sizes

audit: $(TESTS) ## known vulnerabilities of the pinned packages, where advisories can be had
	@$(PY) -m tests.audit

clean: ## leave a fresh clone: remove environment, archive, data, logs and caches
	@git clean -fdXq

$(INSTALLED) $(TRAINING) $(TESTS) $(MUTANTS): $(VENV)/.%: requirements.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c '$(NEW_ENOUGH)' \
	  || { echo "error: Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m serve.install $*
	@touch $@

$(TRAINING) $(TESTS) $(MUTANTS): | $(INSTALLED)

$(JVM_CACHE): $(INSTALLED) config.properties serve/log4j2.xml
	@$(PY) -m serve.jvm_cache

$(MAR): $(INSTALLED) $(INPUTS) $(wildcard handler/*.py handler/*.json) train/pack.py serve/archive.py train/onnx_graph.py
	@$(PY) -m train pack --version $(VERSION) $(OF_MODEL)
