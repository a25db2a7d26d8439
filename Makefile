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
READY = .venv/$(REQUIREMENTS)
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
	translations legacy bench gpu site card results test test-slow test-browser lint \
	clean

help: ## Print this list
	@echo 'make TARGET [LESSON=train] [DEVICES=2] [ARGS="--max-epochs 1"]'
	@echo 'The first target that runs Python installs the packages: one or two minutes.'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Make .venv now, with the pinned packages

plain: $(READY) ## Run the lesson with the loop written by hand
	@$(if $(DEVICES),OMP_NUM_THREADS=1 $(RUN) $(TORCHRUN),$(RUN)) \
		plain_pytorch.$(LESSON) $(ARGS)

lightning: $(READY) ## Run the lesson with the Trainer
	@$(RUN) lightning.$(LESSON) $(if $(DEVICES),--devices $(DEVICES)) $(ARGS)

diff: ## Show how the two halves of the lesson differ
	@git diff --no-index --no-ext-diff -w -U1 --color-moved \
		plain_pytorch/$(LESSON).py lightning/$(LESSON).py || test $$? -eq 1

added: $(READY) ## Show what the lesson adds to train, in both halves
	@$(RUN) compare.lessons.costs $(LESSON)

compare: $(READY) ## Run both halves and compare every number
	@$(RUN) compare $(LESSON) $(if $(DEVICES),--devices $(DEVICES)) $(ARGS)

tensorboard: $(READY) ## Show the curves of all runs in output/
	@$(RUN) tensorboard.main --logdir output $(ARGS)

spread: $(READY) ## Carry your change of train into all other lessons
	@$(RUN) compare.lessons.spread

cost: $(READY) ## Count what each lesson adds to train, in both halves
	@$(RUN) compare.lessons.costs

readme: $(READY) ## Renew the generated parts of the Markdown files
	@$(RUN) compare.lessons.picture
	@$(RUN) cogapp -r README*.md compare/lessons/*.md compare/*/README.md

translations: $(READY) ## List what the translations of README.md lack
	@$(RUN) compare.lessons.translations $(ARGS)

legacy: $(READY) ## Find old Lightning in ARGS="FILE FOLDER ..."
	@$(RUN) compare.legacy $(ARGS)

bench: $(READY) ## Time one step in many ways: up to 10 minutes
	@$(RUN) compare.bench $(ARGS)

gpu: ## Test and time on a GPU with your PYTHON; what it lacks comes from WHEELS=folder
	@$(if $(WHEELS),"$(PYTHON)" -m pip install --quiet --no-index --no-deps --upgrade \
		--target output/gpu/site-packages "$(WHEELS)"/*.whl)
	@PYTHONPATH="$(CURDIR)/output/gpu/site-packages:$$PYTHONPATH" \
		"$(PYTHON)" -m compare.bench.gpu --accelerator "$(ACCELERATOR)" $(ARGS)

site: $(READY) ## Make the pages in output/site
	@$(RUN) compare.site $(ARGS)

card: $(READY) ## Draw the picture of a page in README.md, with Chromium
	@$(RUN) compare.site.card

results: $(READY) ## Run the lessons again whose results on the pages are old
	@$(RUN) compare.site.results $(ARGS)
	@$(RUN) compare.site.cases

test: $(READY) ## Run the tests
	@$(RUN) pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(READY) ## Run the slow tests
	@$(RUN) pytest -n 2 --dist loadfile -m slow $(ARGS)

test-browser: $(READY) output/axe/$(AXE) ## Test the pages in Chromium
	@$(RUN) pytest -rs -m browser $(ARGS)

output/axe/$(AXE): # finds faults that keep people from reading a page
	@mkdir -p $(@D)
	@cd $(@D) && npm pack --silent $(AXE) | xargs tar -xzf
	@touch $@

lint: $(READY) ## Check style and types
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy .

clean: ## Remove .venv and caches; runs and data stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# uv installs the packages: the one on the path, else one from the package index. If
# there is none, pip does. The list of packages is copied last: without its copy, or
# with a newer list, .venv is made again.
$(READY): $(REQUIREMENTS)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: Python 3.11 or newer is needed: try PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing the packages into .venv: some GB, one or two minutes ..."
	@rm -rf .venv && "$(PYTHON)" -m venv .venv
	@command -v uv > /dev/null || .venv/bin/python -m pip install --quiet uv || true
	@PATH="$$PATH:$$PWD/.venv/bin" uv pip install --quiet --compile-bytecode --python .venv -r $< \
		|| .venv/bin/python -m pip install --quiet -r $<
	@cp $< $@
