# Everything a newcomer needs: `make run`, `make test`. `make help` lists the rest.

PYTHON      ?= python3
VENV        ?= .venv
PROXY_PORT  ?= 7777
OPS_PORT    ?= 9000
EVENTS_PORT ?= 5555
BROKER_PORT ?= 8080
BRIDGE_PORT ?= 3000
LOGDRIVER_PORT ?= 9001
STATE_DIR   ?= .state
SEED        ?= demo
ARGS        ?=
UPGRADE     ?=

BIN := $(VENV)/bin

.PHONY: help run web pictures test check fix bench docs lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# The environment for `run` holds only what runs; `test` adds the rest. A stamp remembers which lock was installed.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "error: the venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.run-installed: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the locked dependencies (once) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test-installed: requirements/test.txt $(VENV)/.run-installed
	@echo "Installing the locked test dependencies (once) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/test.txt
	@touch $@

# The web app is built where Node is there, and built again when its sources changed. Without it everything else runs.
WEB_BUILT   := src/tenant_security/broker/static/hashes.json
WEB_SOURCES := $(shell find web/src web/public web/build -type f) web/index.html web/vite.config.ts web/tsconfig.json
WEB_IF_NODE := $(if $(shell command -v npm),web-or-say)

web: $(WEB_BUILT) ## Build the broker's web app (needs Node 20.19 or newer)

$(WEB_BUILT): web/node_modules/.package-lock.json $(WEB_SOURCES)
	@echo "Building the web app ..."
	@cd web && npm run --silent build -- --logLevel warn
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json web/package.json web/.npmrc
	@cd web && npm ci --ignore-scripts --loglevel=error
	@touch $@

.PHONY: web-or-say
web-or-say:
	@$(MAKE) --no-print-directory web || echo "The web app could not be built; everything else runs without it." >&2

run: $(VENV)/.run-installed $(WEB_IF_NODE) ## Run a complete demo: make run PROXY_PORT=32804 BROKER_PORT=32810 BRIDGE_PORT=32811 STATE_DIR=/some/dir
	@exec $(BIN)/tenant-security dev --proxy-port $(PROXY_PORT) --ops-port $(OPS_PORT) --events-port $(EVENTS_PORT) \
	  --broker-port $(BROKER_PORT) --bridge-port $(BRIDGE_PORT) --logdriver-port $(LOGDRIVER_PORT) --state-dir $(STATE_DIR) --seed $(SEED) $(ARGS)

test: $(VENV)/.test-installed ## Check the code and run the whole test suite
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.test-installed ## Lint, types, import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet || { $(BIN)/ruff format --diff --quiet; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --config pyproject.toml | tail -n 12

fix: $(VENV)/.test-installed ## Mend what the linter can mend by itself
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

pictures: $(VENV)/.test-installed web ## Take the documentation's pictures of the web app anew, in a real browser
	@PICTURES=1 $(BIN)/python -m pytest -q tests/browser $(ARGS)

bench: $(VENV)/.test-installed ## Measure, as ratios to yardsticks in the same run
	@$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.test-installed ## Write the generated pages and build the website into build/site, links checked
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m docs.site

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
  --no-emit-index-url --no-annotate
PROGRAMS := proxy logdriver broker bridge

lock: $(VENV)/bin/python ## Pin the dependencies with hashes; with UPGRADE=--upgrade the newest of each
	@$(BIN)/python -m pip install --quiet uv
	@$(LOCK) pyproject.toml --extra all --group build --output-file requirements/run.txt $(UPGRADE)
	@$(LOCK) pyproject.toml --extra all --group build --group test --group docs --group release --constraints requirements/run.txt \
	  --output-file requirements/test.txt $(UPGRADE)
	@# What an image holds: the pins of run.txt, of one program alone.
	@$(LOCK) --group build --constraints requirements/run.txt --output-file requirements/build.txt
	@$(LOCK) --group sbom --constraints requirements/test.txt --output-file requirements/sbom.txt
	@$(LOCK) pyproject.toml --constraints requirements/run.txt --output-file requirements/client.txt
	@for program in $(PROGRAMS); do $(LOCK) pyproject.toml --extra $$program --extra tracing --constraints requirements/run.txt \
	  --output-file requirements/$$program.txt || exit 1; done

release: $(VENV)/.test-installed web ## Build the wheel, the source distribution and the SBOM into dist/
	@# The time that the files carry is that of the commit: whoever builds it anew gets the same bytes.
	@rm -rf dist && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml --output-reproducible \
	  --of JSON --output-file dist/sbom.cdx.json
	@cd dist && sha256sum * > SHA256SUMS && cat SHA256SUMS

audit: $(VENV)/.test-installed ## Ask the advisory databases about every pinned dependency
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python .ci/audit $(ARGS)

clean: ## Remove the environment and the caches; the state directory stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis
