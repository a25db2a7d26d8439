# Every target that needs .venv makes it the first time, and again when the list of
# packages changes.
LESSON ?= train
ARGS ?=
DEVICES ?=
PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
ACCELERATOR ?= cuda
WHEELS ?=
AXE := axe-core@4.14.1
RUN := .venv/bin/python -m
# With DEVICES=2 torchrun starts two processes of the plain half; a Trainer does so itself.
TORCHRUN = torch.distributed.run --standalone --nproc-per-node $(DEVICES) -m

ifeq ($(wildcard plain_pytorch/$(LESSON).py),)
$(error no lesson $(LESSON): README.md lists them all)
endif
ifneq ($(shell echo "$(DEVICES)" | tr -d 0-9),) # torchrun would show a traceback
$(error DEVICES=$(DEVICES) is not a number)
endif

.DEFAULT_GOAL := help
.PHONY: help setup plain lightning diff added compare tensorboard spread cost readme \
	legacy bench gpu site results test test-slow test-browser lint clean FORCE

help: ## Print this list
	@echo 'make TARGET [LESSON=train] [DEVICES=2] [ARGS="--max-epochs 1"]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready ## Make .venv now, with the pinned packages

plain: .venv/.ready ## Run the lesson with the loop written by hand
	@$(if $(DEVICES),OMP_NUM_THREADS=1 $(RUN) $(TORCHRUN),$(RUN)) \
		plain_pytorch.$(LESSON) $(ARGS)

lightning: .venv/.ready ## Run the lesson with the Trainer
	@$(RUN) lightning.$(LESSON) $(if $(DEVICES),--devices $(DEVICES)) $(ARGS)

diff: ## Show how the two halves of the lesson differ
	@git diff --no-index --no-ext-diff -w -U1 --color-moved \
		plain_pytorch/$(LESSON).py lightning/$(LESSON).py || test $$? -eq 1

added: .venv/.ready ## Show what the lesson adds to train, in both halves
	@$(RUN) compare.lessons.costs $(LESSON)

compare: .venv/.ready ## Run both halves and compare every number
	@$(RUN) compare $(LESSON) $(if $(DEVICES),--devices $(DEVICES)) $(ARGS)

tensorboard: .venv/.ready ## Show the curves of all runs in output/
	@$(RUN) tensorboard.main --logdir output $(ARGS)

spread: .venv/.ready ## Carry your change of train into all other lessons
	@$(RUN) compare.lessons.spread

cost: .venv/.ready ## Count what each lesson adds to train, in both halves
	@$(RUN) compare.lessons.costs

readme: .venv/.ready ## Renew the generated parts of the Markdown files
	@$(RUN) compare.lessons.picture
	@$(RUN) cogapp -r README.md compare/lessons/*.md compare/*/README.md

legacy: .venv/.ready ## Find old Lightning in ARGS="FILE FOLDER ..."
	@$(RUN) compare.legacy $(ARGS)

bench: .venv/.ready ## Time one step in many ways: up to 10 minutes
	@$(RUN) compare.bench $(ARGS)

gpu: ## Test and time on a GPU with your PYTHON; what it lacks is in WHEELS=folder
	@$(if $(WHEELS),"$(PYTHON)" -m pip install --quiet --no-index --no-deps --upgrade \
		--target output/gpu/site-packages "$(WHEELS)"/*.whl)
	@PYTHONPATH="$(CURDIR)/output/gpu/site-packages:$$PYTHONPATH" \
		"$(PYTHON)" -m compare.bench.gpu --accelerator "$(ACCELERATOR)" $(ARGS)

site: .venv/.ready ## Make the pages in output/site
	@$(RUN) compare.site $(ARGS)

results: .venv/.ready ## Run the lessons again whose results on the pages are old
	@$(RUN) compare.site.results $(ARGS)
	@$(RUN) compare.site.cases

test: .venv/.ready ## Run the tests
	@$(RUN) pytest -n 2 --dist loadfile $(ARGS)

test-slow: .venv/.ready ## Run the slow tests
	@$(RUN) pytest -n 2 --dist loadfile -m slow $(ARGS)

test-browser: .venv/.ready output/axe/$(AXE) ## Test the pages in Chromium
	@$(RUN) pytest -m browser $(ARGS)

output/axe/$(AXE): # finds faults that keep people from reading a page
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent $(AXE) | xargs tar -xzf
	@touch $@

lint: .venv/.ready ## Check style and types
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy .

clean: ## Remove .venv and caches; runs and data stay
	rm -rf .venv .venv-install.log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# The copy of the list of packages, .ready, is written last. A .venv without this copy,
# or with another list, is made anew.
.venv/.ready: FORCE
	@cmp -s "$(REQUIREMENTS)" $@ || { \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: Python 3.11 or newer is needed, and $(PYTHON) is" \
			"$$("$(PYTHON)" -V 2>/dev/null || echo missing): try PYTHON=python3.12" >&2; \
		exit 1; }; \
	mkdir .venv.lock 2>/dev/null || { \
		echo "error: another make installs the packages here; if none does, remove" \
			"the folder .venv.lock" >&2; exit 1; }; \
	trap 'rmdir .venv.lock' EXIT; trap 'exit 130' INT TERM; \
	echo "Installing the packages into .venv: some GB, a few minutes ..."; \
	{ rm -rf .venv && "$(PYTHON)" -m venv .venv && .venv/bin/python -m pip install \
		--disable-pip-version-check -r "$(REQUIREMENTS)"; } > .venv-install.log 2>&1 || { \
		echo "error: the packages could not be installed:" \
			"$$(tail -n 1 .venv-install.log) (all of it: .venv-install.log)" >&2; \
		rm -rf .venv; exit 1; }; \
	cp "$(REQUIREMENTS)" $@; }

FORCE:
