# Two commands: `make demo` sets everything up and runs the main job; `make test` passes the tests.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test setup lint fast end-to-end benchmark lock clean

demo: setup
	$(BIN)/dicom-node demo --out demo-out

test: setup
	@deploy/system-packages.sh test
	@$(MAKE) --no-print-directory lint fast end-to-end

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@deploy/system-packages.sh venv $(PYTHON)
	@deploy/install.sh $(PYTHON) $(VENV)
	@touch $@

lint: setup
	@echo "== style, types, import directions"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: setup
	@echo "== fast tests"
	$(BIN)/pytest -m "not slow and not end_to_end" -q

end-to-end: setup
	@echo "== slow and end-to-end tests: real peers on loopback"
	$(BIN)/pytest -m "slow or end_to_end" -q --durations=15

benchmark: setup
	$(BIN)/python -m benchmarks.main_job

lock: setup
	deploy/lock.sh $(VENV)

clean:
	rm -rf $(VENV) demo-out
