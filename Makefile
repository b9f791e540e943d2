# Every command of the report. Each first sets up what it is missing; `make` alone lists them.
# For GNU make 3.81 (macOS) and later: no .ONESHELL, no grouped targets, no number sign inside a function.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The targets share .venv and build/, and each fills the cores by itself: `make -j` runs them one after the other.
.NOTPARALLEL:
.PHONY: help env data report test test-faults lab record publish evaluate bench audit lock clean

help: ## list the targets; in brackets the variables that one takes, as in `make report PROFILE=smoke NB=01`
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile
	@echo 'all take  PYTHON=python3.12 (makes .venv with it), GPU=1 (adds CUDA libraries), DATA_DIR=folder (data at hand)'

env: ## set up the environment: .venv, or none if the active conda or virtual environment has every pin
	$(if $(filter 1,$(GPU)),$(call extra,gpu))
	$(if $(filter env,$(MAKECMDGOALS)),@echo "ready: $$($(PY) -V) in $(place)")

data: env ## get MNIST and CIFAR-10, or verify the copies at hand
	@$(PY) -m lib.data

report: env ## run the notebooks and render build/report/index.html [PROFILE SEEDS SEED NB]
	@$(PY) -m lib.report $(call flag,profile,PROFILE) $(call flag,seeds,SEEDS) $(call flag,seed,SEED) $(call flag,nb,NB)

test: env ## run the whole test suite
	@HYPOTHESIS_STORAGE_DIRECTORY=build/hypothesis $(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-faults: env ## run the long tests: kills at random moments, full disks, several reports at once
	@$(PY) -m pytest -m faults

lab: env ## open the notebooks in JupyterLab
# The variable: see lib/__init__.py
	@TF_ENABLE_ONEDNN_OPTS=$${TF_ENABLE_ONEDNN_OPTS:-1} $(PY) -m jupyterlab --notebook-dir notebooks $(root)

record: env ## train what results/ lacks at full scale; stop it at any time [PROFILE ONLY HOURS WORKERS SCHEDULER]
	$(if $(WORKERS)$(SCHEDULER),$(call extra,cluster))
	@$(PY) -m lib.recorder --profile '$(or $(PROFILE),paper)' $(call flag,only,ONLY) $(call flag,hours,HOURS) \
		$(call flag,workers,WORKERS) $(call flag,scheduler,SCHEDULER)

publish: env ## render report/ and the README's picture and table from results/ alone, training nothing
	@$(PY) -m lib.report --publish
	@$(PY) -m lib.readme

evaluate: env ## compute the test errors of the nets whose weights are kept in results/ again
	@$(PY) -m lib.evaluate

bench: env ## time training beside its peers, on an idle machine, into results/bench.json
	$(call extra,bench cluster)
	@$(PY) -m tests.bench

audit: env ## look requirements.lock up in the list of known vulnerabilities
	$(call extra,maintain)
	@mkdir -p build && rm -f build/audit.txt
# Strict, because pip-audit by default passes a package that it could not look up. Failure without a table is no answer.
	@if $(PY) -m pip_audit --strict --requirement requirements.lock --require-hashes --disable-pip \
		--progress-spinner off --output build/audit.txt 2> build/audit.log; \
	then echo 'audit: no known vulnerability'; \
	else cat build/audit.txt 2> /dev/null || echo 'audit: not done, the service gave no answer (build/audit.log)' >&2; \
		exit 1; fi

lock: env ## resolve environment.yml anew into requirements.lock (for maintainers)
	$(call extra,maintain)
	@$(PY) -m lib.environment | $(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --annotation-style line --custom-compile-command 'make lock' \
		--output-file requirements.lock -

clean: ## delete build/ (local runs, executed notebooks, site) and caches; .venv, results/ and report/ stay
	@rm -rf build .hypothesis .pytest_cache .ruff_cache *.egg-info
	@find lib tests -name __pycache__ -prune -exec rm -rf {} +

# root, the only user that many a container has, must tell Jupyter so
root = $(if $(filter 0,$(shell id -u)),--allow-root)

# --name 'value', where the variable is set; the commands have the defaults
flag = $(if $($(2)),--$(1) '$($(2))')

# ---- Variables: one that is misspelt, or that the target does not take, is an error and not ignored.

given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
ifneq ($(given),)
# What a target takes stands in brackets on its help line.
takes := $(foreach goal,$(or $(MAKECMDGOALS),[a-z]*),$(shell sed -n 's|^$(goal):.*\[\([A-Z ]*\)\]$$|\1|p' Makefile))
unknown := $(filter-out $(takes) PYTHON GPU DATA_DIR,$(given))
ifneq ($(unknown),)
$(error make $(or $(MAKECMDGOALS),TARGET) takes no $(unknown): choose from $(strip $(sort $(takes)) PYTHON GPU DATA_DIR))
endif
endif
ifneq ($(filter-out 0 1,$(GPU)),)
$(error GPU=$(GPU): choose from 0 1)
endif

# Notebooks run in a folder of their own, so the path is made absolute here.
ifneq ($(DATA_DIR),)
data_dir := $(shell cd '$(DATA_DIR)' 2> /dev/null && pwd)
ifeq ($(data_dir),)
$(error DATA_DIR=$(DATA_DIR) is not a folder)
endif
override DATA_DIR := $(data_dir)
export DATA_DIR
endif

# ---- The environment: the active one if it has every pin, else .venv.

# Makes `import lib` work in any folder, also after the repository was moved.
export PYTHONPATH := $(CURDIR)

PY := .venv/bin/python
place := .venv
# An active environment counts where something will run in it, and no Python was named for .venv.
active := $(if $(PYTHON),,$(if $(filter-out help clean,$(MAKECMDGOALS)),$(or $(VIRTUAL_ENV),$(CONDA_PREFIX))))
ifneq ($(active),)
ifneq ($(active),$(CURDIR)/.venv)
# `false`, because make takes the status 127 of a missing Python for an error of its own.
lacks := $(shell '$(active)/bin/python' -m lib.environment --check 2>&1 || false)
ifeq ($(lacks),)
PY := '$(active)/bin/python'
place := $(active)
else
$(info using .venv, not the active $(active): $(lacks))
endif
endif
endif
pip := $(PY) -m pip --disable-pip-version-check

# $(call extra,NAME ...): what these extras of pyproject.toml pin, installed unless it is there
extra = @$(PY) -m lib.environment --check $(1) 2> /dev/null || \
	{ echo 'installing what this target needs besides: $(1)'; $(pip) install -qq $$($(PY) -m lib.environment $(1)); }

ifeq ($(place),.venv)
env: .venv/.ready

# IPython would add the packages of whatever environment this variable names.
unexport VIRTUAL_ENV

# The stamp holds the folder that lib is installed from. It is void when the folder was moved, when .venv is broken, and
# when .venv is of another version than the Python asked for.
same := $(if $(PYTHON),test "$$(.venv/bin/python -V)" = "$$('$(PYTHON)' -V)",true)
ready := $(shell { test -x .venv/bin/python && $(same) && cat .venv/.ready; } 2> /dev/null)
ifneq ($(ready),$(CURDIR))
.PHONY: .venv/.ready
endif
endif

# The first Python that will do; if none will, python3, for it to say why.
pythons := $(if $(PYTHON),'$(PYTHON)',.venv/bin/python python3 python3.13 python3.12 python3.11 python3)
base = $(shell for python in $(pythons); do "$$python" -m lib.environment --base > /dev/null 2>&1 && break; done; \
	echo "$$python")

.venv/.ready: environment.yml requirements.lock pyproject.toml
	@'$(base)' -m lib.environment --base
	@echo "setting up .venv with $$('$(base)' -V): the first time about 3 GB and a few minutes"
	@.venv/bin/python -c 'import pip' 2> /dev/null && test "$$(.venv/bin/python -V)" = "$$('$(base)' -V)" || \
		'$(base)' -m venv --clear .venv
	@$(pip) install -qq --require-hashes --only-binary :all: -r requirements.lock || \
		{ echo '.venv is not complete (is there a network, and room on the disk?): run this again' >&2; exit 1; }
	@$(pip) install -qq --no-deps --no-build-isolation -e .
	@$(PY) -m lib.environment --check || \
		{ echo 'requirements.lock does not give what environment.yml pins: is it whole? (git checkout requirements.lock)' >&2; \
		exit 1; }
	@echo "$$PYTHONPATH" > $@
