# `make setup`, `make run`, `make test`: everything a newcomer needs. PYTHON=python3.13 chooses another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# QUICK=1 leaves out the long simulations and the mutants.
QUICK ?=
TRACE ?=

.PHONY: setup fault-walk run test check mutants agree clocks simulate race abuse picture pictures package size lock clean recordings \
  bench-fusion bench-lateness bench-detection bench-delivery bench-backtest bench-coldstart bench-silences

# Microsoft's KQL parser comes along where npm is: without it `tocsin check` looks for names alone.
setup: $(VENV)/.ready $(if $(shell command -v npm),tests/kql/node_modules/.ready)

$(VENV)/.ready: requirements-dev.lock pyproject.toml tools/progress.awk
	@echo "Preparing $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@{ $(BIN)/python -m pip install $(if $(CI),--no-compile) --disable-pip-version-check --no-color --progress-bar off --require-hashes \
	  -r requirements-dev.lock; echo "exit $$?"; } | awk -v total="$$(grep -c '^[a-zA-Z].*==' requirements-dev.lock)" \
	  -v terminal="$$(test -t 1 && echo 1)" -f tools/progress.awk
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@command -v npm >/dev/null || echo "npm is not here: KQL is not parsed, and the tests that need Node are skipped"
	@touch $@

# Absent Node, the tests that bind the golden queries say so and skip; CI may not skip.
tests/kql/node_modules/.ready: tests/kql/package-lock.json
	@if ! command -v npm >/dev/null; then echo "npm is not here: KQL is not parsed"; else \
	echo "Fetching Microsoft's KQL parser …"; if npm ci --silent --prefix tests/kql; then touch $@; \
	else echo "It could not be fetched: KQL is not parsed"; test -z "$(CI)"; fi; fi

run: setup
	@$(BIN)/tocsin demo $(if $(TRACE),--trace $(TRACE)) $(ARGS)

# Azurite, for the table store. Absent Node, its tests say so and skip; CI may not skip.
tests/azurite/node_modules/.ready: tests/azurite/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --omit=optional --prefix tests/azurite && touch $@; \
	else echo "npm is not here: the tests that need Azurite will be skipped"; fi

# Microsoft's card renderer, which draws Teams cards in Chromium. Absent Node, that test says so and skips; CI may not.
tools/cards/node_modules/.ready: tools/cards/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --prefix tools/cards && touch $@; \
	else echo "npm is not here: the test that draws a card will be skipped"; fi

test: setup tests/kql/node_modules/.ready tests/azurite/node_modules/.ready tools/cards/node_modules/.ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(if $(QUICK),:,$(BIN)/mypy)
	@$(BIN)/lint-imports
	@QUICK=$(QUICK) $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "$(if $(QUICK),not slow and not long,$(if $(CI),not long))" $(ARGS)
	@$(if $(QUICK),:,$(BIN)/python -m tools.mutants --of $(if $(CI),30,1))

check: setup
	@$(BIN)/tocsin check

mutants: setup
	@$(BIN)/python -m tools.mutants

# The alert state machine against the real Prometheus (Debian's promtool), in 10,000 sequences; `make test` plays 500.
agree: setup
	@SEQUENCES=$(or $(SEQUENCES),10000) $(BIN)/python -m pytest tests/test_prometheus_agrees.py $(ARGS)

# Silences and quiet hours at every change of the clock of 60 zones in 15 years; `make test` looks at 3 zones.
clocks: setup
	@ZONES=$(or $(ZONES),60) RULES=2000 $(BIN)/python -m pytest tests/test_recurrence.py $(ARGS)

# Benchmarks: each compares against a named baseline in the same run and ends with one line of JSON.
bench-fusion bench-lateness bench-detection bench-delivery bench-backtest bench-coldstart bench-silences: bench-%: setup
	@$(BIN)/python -m bench.$* $(ARGS)

# What rules find in real recordings, and the pictures of those reports in docs/backtest.
recordings: setup
	@$(BIN)/python -m bench.recordings docs/backtest

# Every call of a tick that handles one item is made to fail for one of them, with each exception the libraries raise.
fault-walk: setup
	@FULL=1 $(BIN)/python -m pytest -n 0 -q tests/test_fault_walk.py $(ARGS)

# Stories drawn from seeds, each of which must end as it has to (SEEDS=200 FROM=0; TRACE=1 tells them and does no more);
# then two engines at once on Azurite's Table service, in 500 orders.
simulate: setup
	@$(BIN)/python -m tests.simulation.run $(or $(SEEDS),2000) $(or $(FROM),0) $(if $(TRACE),--trace)
	@$(if $(TRACE),:,ORDERS=500 $(BIN)/python -m pytest tests/test_interleaving.py -q $(ARGS))

# Four engines race for every action on both stores (ROUNDS=1000 each; ACTION=webhook, or "sqlite webhook", for some).
race: setup
	@$(BIN)/python -m tests.racing $(or $(ROUNDS),1000) $(ACTION)

# Floods, hostile text and broken parts on SQLite and Azurite, while a real misconfiguration must not be missed; prints
# figures, under 20 minutes (NAMES="names deaf" ON=SQLite SHARE=0.1; WRITE=1 puts them into docs/failure-modes.md).
abuse: setup tests/azurite/node_modules/.ready
	@$(BIN)/python -m tests.abuse.run $(NAMES) $(if $(ON),--on $(ON)) $(if $(SHARE),--share $(SHARE)) \
	  $(if $(WRITE),--write docs/failure-modes.md)

# The pictures in the README, drawn from a real run.
picture: setup
	@$(BIN)/tocsin demo --speed 0 --picture docs/timeline.svg

# The pictures of Teams cards in docs/cards, drawn in Chromium from samples of a shipped rule.
pictures: setup tools/cards/node_modules/.ready
	@mkdir -p docs/cards
	@for kind in fired acted resolved; do \
	  TOCSIN_AUTOMATION=act $(BIN)/tocsin render hitl_misconfigured -r teams --kind $$kind --picture docs/cards/$$kind.png >/dev/null || exit; done

# The zip that a deployment uploads, and a rehearsal: unpacked where nothing but requirements.txt is installed, it runs in
# Microsoft's worker. That is for Python 3.13: PYTHON=python3.13 VENV=.venv-3.13 make package
package: setup
	@$(BIN)/python -m tools.package
	@$(BIN)/python -m tools.rehearse

# What requirements.txt takes once installed; more than 120 MB is an error.
size: setup
	@$(BIN)/python -m tools.size

# Resolve the versions anew: the lock of everything, what the deployed function needs as its export, the workflows' tools.
lock: setup
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
	  --all-extras --python-version 3.11 pyproject.toml --output-file requirements-dev.lock
	@$(BIN)/python -m tools.export_requirements > requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
	  --python-version 3.13 .github/tools.in --output-file .github/tools.txt

clean:
	@rm -rf .venv .venv-* tests/*/node_modules tools/*/node_modules build *.egg-info .mypy_cache .ruff_cache .hypothesis
