# The targets set up what they need; the first time takes a few minutes, later ones a second.
VENV ?= .venv
WORKERS ?= 2
.PHONY: demo test check drill setup format clean

demo:  ## run the main job for real: execute, synthesise, pack, train, export, evaluate, report
	@scripts/setup.sh $(VENV) dev
	@scripts/demo.sh $(VENV)

test:  ## everything but the long drills
	@scripts/setup.sh $(VENV) dev domains
	$(VENV)/bin/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --durations=25 -m "not drill"

check:  ## lint, format, types
	@scripts/setup.sh $(VENV) dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

drill:  ## long fault drills and fuzzing
	@scripts/setup.sh $(VENV) dev domains
	$(VENV)/bin/python -m pytest -q -m drill

setup:  ## only set up, with the tools of all domains
	@scripts/setup.sh $(VENV) dev domains

format:  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## remove runs and caches, keep the virtual environment
	rm -rf runs .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info
