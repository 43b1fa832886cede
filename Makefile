# make demo   unmix the embedded phantom          make test    install the test extra, run the tests
# make lint   style, format, types, spelling      make bench   run the benchmarks
# make test-combinations   every loss, penalty and solver, into the docs (an hour; EVERY=12: a part)
# make docs   the documentation                   make clean   remove .venv and what was built
# make test-faults   kill, fill, flip: break what can break, often, and count how it ended
# make test-oldest    the tests with the oldest version of every dependency (Python 3.11)
# make bench-compare  time this source beside an earlier one, in turns (AGAINST=commit or kept file)
# make coverage       the tests again, with the lines that none of them runs; fails below the floor
# make bundle         a folder for people without Python, packed: dist/endmember-*.tar.xz (5 minutes)
# make test-browser   try the workbench in a real browser, installed where that is allowed
#
# Everything lives in .venv; choose another interpreter with `make demo PYTHON=python3.12`: it is
# remembered until another is named. Stamps in .venv say what is installed already.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install.log
PYTHON ?= $(or $(shell cat $(VENV)/python 2>/dev/null),python3)

# A folder that was moved, an interpreter that is gone or another one asked for: make .venv again.
STALE := $(shell test -x $(BIN)/python && \
	test "$$(cat $(VENV)/made 2>/dev/null)" = '$(PYTHON) in $(CURDIR)' || echo again)

# HyperSpy and Matplotlib keep settings in the home folder: give them one where there is none.
export HOME := $(if $(shell test -w "$$HOME" && echo writable),$(HOME),$(CURDIR)/$(VENV)/home)

comma := ,
# $(call install,WHAT TO SAY,WHAT TO INSTALL): one line while pip works; its own words go to the log.
define install
@echo "Installing $(1) (a few minutes the first time; log in $(LOG))"
@$(BIN)/python -m pip install --disable-pip-version-check -q -e $(2) >$(LOG) 2>&1 || { \
	tail -n 30 $(LOG) >&2; \
	echo "Installing $(1) failed: the reason is above, the whole log in $(LOG)." >&2; exit 1; }
@touch $@
endef

# The browser that the tests drive; another one: make test-browser BROWSER=/opt/chrome/chrome
BROWSER ?= $(firstword $(shell command -v chromium chromium-browser google-chrome 2>/dev/null))

.PHONY: help demo bundle test coverage test-oldest test-combinations test-faults test-browser browser lint bench bench-compare docs clean again

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/package
	@$(BIN)/endmember demo

# Compiled modules are kept, for the many processes that the tests start.
test: $(VENV)/tests
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# Compiled kernels and the processes of the workbench do not count themselves. The floor is what a part of the tests
# (doctests and eight files) was seen to cover, branches too: 83.6 %.
coverage: $(VENV)/tests
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal \
		--cov --cov-report=term --cov-fail-under=83

test-combinations: $(VENV)/tests
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore tests/combinations.py docs/project/combinations.md $(EVERY)

test-faults: $(VENV)/tests
	@ENDMEMBER_FAULTS=all OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
		$(BIN)/python -m pytest -n auto --dist worksteal tests/faults

# Old versions warn of what later ones have mended: that fails no test here.
test-oldest: $(VENV)/oldest/tests
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV)/oldest/bin/python -m pytest -W default -n auto --dist worksteal

test-browser: browser $(VENV)/browser
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ENDMEMBER_BROWSER="$(or $(BROWSER),$$(command -v chromium))" \
		$(BIN)/python -m pytest tests/browser

browser:
	@test -n "$(BROWSER)" || { command -v apt-get >/dev/null && test "$$(id -u)" = 0 && { \
		echo "Installing the browser Chromium with apt"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } } || { \
		echo "There is no browser for the tests of the workbench: install Chromium (on Debian: sudo apt install chromium)," \
		"or name one, for example: make test-browser BROWSER=/opt/chrome/chrome" >&2; exit 1; }

lint: $(VENV)/tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell *.md docs src tests examples benchmarks tools

bench: $(VENV)/benchmarks
	@$(BIN)/python benchmarks/collect.py

bench-compare: $(VENV)/tests
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore benchmarks/compare.py $(AGAINST)

# The package goes in as it is now; what it needs is installed once.
bundle: $(VENV)/bundle/made
	@$(VENV)/bundle/bin/python -m pip install --disable-pip-version-check -q --no-deps --force-reinstall .
	@PYTHONWARNINGS=ignore $(VENV)/bundle/bin/pyinstaller --noconfirm --log-level ERROR --distpath dist --workpath build tools/bundle.spec
	@XZ_OPT='-T0 -2' tar -C dist -cJf dist/endmember-$$(uname -s)-$$(uname -m).tar.xz endmember
	@ls -sh dist/endmember-*.tar.xz

docs: $(VENV)/documentation
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@$(BIN)/python docs/_sphinx/check_links.py
	@echo "Open docs/_build/html/index.html"

clean:
	rm -rf $(VENV) build dist docs/_build docs/gallery docs/generated docs/api/generated .pytest_cache .ruff_cache .mypy_cache endmember-demo

$(VENV)/made: $(STALE)
	@"$(PYTHON)" -c pass 2>/dev/null || { \
		echo "$(PYTHON) does not run: install Python 3.11 or newer, or name one that you have, for example: make demo PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Endmember needs Python 3.11 or newer and $(PYTHON) is" \
		"$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'): name a newer one, for example: make demo PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "python3-venv is missing: install it (on Debian or Ubuntu: sudo apt install python3-venv), then call make again." >&2; exit 1; }
	@echo "Making $(VENV) with $$("$(PYTHON)" --version)"
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV)
	@mkdir $(VENV)/home
	@echo "$(PYTHON)" >$(VENV)/python
	@echo "$(PYTHON) in $(CURDIR)" >$@

$(VENV)/package: $(VENV)/made pyproject.toml
	$(call install,Endmember,.)

$(VENV)/tests: $(VENV)/package
	$(call install,what the tests need,'.[test]')

# uv is the installer that can choose the oldest versions that pyproject.toml allows.
$(VENV)/oldest/tests: $(VENV)/made pyproject.toml
	@echo "Installing the oldest version of every dependency (log in $(LOG))"
	@{ $(BIN)/python -m pip install --disable-pip-version-check -q uv && \
		$(BIN)/uv venv -q --clear --python $(BIN)/python $(VENV)/oldest && \
		$(BIN)/uv pip install -q --python $(VENV)/oldest/bin/python --resolution lowest-direct -e '.[test]'; } >$(LOG) 2>&1 || { \
		tail -n 30 $(LOG) >&2; exit 1; }
	@touch $@

$(VENV)/bundle/made: $(VENV)/made pyproject.toml
	@echo "Installing what a bundle is made of (log in $(LOG))"
	@{ $(BIN)/python -m venv --clear $(VENV)/bundle && \
		$(VENV)/bundle/bin/python -m pip install --disable-pip-version-check -q '.[workbench,baselines]' 'pyinstaller>=6.11'; } >$(LOG) 2>&1 || { \
		tail -n 30 $(LOG) >&2; exit 1; }
	@touch $@

$(VENV)/browser: $(VENV)/tests
	$(call install,what drives a browser,'.[test$(comma)workbench$(comma)browser]')

$(VENV)/benchmarks: $(VENV)/package
	$(call install,what the benchmarks compare with,'.[bench]')

$(VENV)/documentation: $(VENV)/package
	$(call install,what the documentation needs,'.[docs]')
