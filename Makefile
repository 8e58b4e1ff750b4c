# One vocabulary for people, CI and hooks. `make` alone lists it.
SHELL := /bin/bash
# The newest Python that really runs: a version manager's shim may stand on the PATH and answer nothing.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import ensurepip, venv' >/dev/null 2>&1 && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(VENV)/.uv/bin/uv
COMPILE = $(UV) pip compile -q --universal --python-version 3.11 pyproject.toml
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPATH :=

MODEL ?= churn
SEED ?= 7
SCENARIO ?= drift
SECTION ?=
WORKERS ?= 2
# Whole folders go to a worker, those that take longest first, which is the order of pytest's testpaths.
SIDE_BY_SIDE := -n $(WORKERS) --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo up restart down reset test test-unit test-long check format bench lock

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(STAMP) ## install everything into .venv; does nothing when nothing changed

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "setup: no Python that can make an environment; install Python 3.11 to 3.13 (on Debian and Ubuntu also python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: set PYTHON=")'
	@echo "setup: environment $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	@test -x $(UV) || { echo "setup: uv into $(VENV)/.uv"; $(PYTHON) -m venv $(VENV)/.uv && $(VENV)/.uv/bin/python -m pip install -q --disable-pip-version-check "uv>=0.9"; }
	@echo "setup: $$(grep -c == requirements.txt) locked packages, compiled to bytecode"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip sync -q --compile-bytecode requirements.txt
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install -q --no-deps --editable .
	@touch $@

demo: setup ## run the whole loop on a simulated business; SEED=8 or SCENARIO=harmless|outage tells another story, MODEL=flight_delay replays real flights
	@$(BIN)/python -m evergreen_demo --model $(MODEL) --seed $(SEED) --scenario $(SCENARIO)

up: setup ## start Airflow, MLflow, the model server and the reports, and leave them running
	@$(BIN)/evergreen up

restart: setup ## stop and start PART alone: postgres, mlflow, airflow, server, reports (several: PART="mlflow server")
	@$(BIN)/evergreen restart $(or $(PART),$(error name a part: make restart PART=server))

down: ## stop everything that `make up` or `make demo` started
	@test ! -x $(BIN)/evergreen || $(BIN)/evergreen down

reset: ## stop everything and delete all data of the local stack
	@test ! -x $(BIN)/evergreen || $(BIN)/evergreen reset

test-unit: setup ## run the tests that need no server: seconds
	@$(BIN)/python -m pytest tests/unit

test: setup ## run the tests, all but those marked long, in WORKERS processes side by side
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long"

test-long: setup ## run every test, those marked long too
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)

check: setup ## lint, format, types, specs, images, workflows, locks; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/evergreen check
	@$(BIN)/yamllint -s .
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.compose-spec deploy/compose.yaml
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/zizmor -q --offline --no-progress .github/workflows
	@if test -x $(BIN)/hadolint; then $(BIN)/hadolint Dockerfile deploy/server.Dockerfile; else echo "check: no hadolint for this platform, the Dockerfiles are not linted"; fi
	@$(COMPILE) --no-header --no-annotate --constraints requirements.txt --group dev --group local \
	  | diff - <(grep -vE '^\s*#' requirements.txt) || { echo "requirements.txt does not agree with pyproject.toml: run 'make lock'"; exit 1; }
	@$(COMPILE) --no-header --no-annotate --constraints requirements.txt \
	  | diff - <(grep -vE '^\s*#' requirements-runtime.txt) || { echo "requirements-runtime.txt does not agree with requirements.txt: run 'make lock'"; exit 1; }

format: setup ## format the code and fix what the linter can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup ## resolve the newest releases that pyproject.toml allows into requirements.txt, and what images need of them into requirements-runtime.txt
	@$(COMPILE) --upgrade --custom-compile-command "make lock" --group dev --group local -o requirements.txt
	@$(COMPILE) --no-annotate --custom-compile-command "make lock" --constraints requirements.txt -o requirements-runtime.txt

bench: setup ## measure, as ratios taken side by side; SECTION=serving measures one section anew
	@PYTHONPATH=. $(BIN)/python -m benchmarks $(SECTION)
