#!/usr/bin/env bash
# Serve an 8B model with SGLang 0.5.23 or newer on one GPU with 24 GB or more; rank and answer with it from anywhere:
#   configs/serve/sglang-8b.sh runs/llama3-8b-stage2/model
#   rankrag ask "…" --model "http://HOST:8000/v1?model=rankrag-8b&concurrency=64#runs/llama3-8b-stage2/model"
# The directory holds weights, tokenizer and contract; of the last two, the machine that asks needs a copy.
# NOT RUN: SGLang needs a GPU. What was checked is in docs/backends.md.
set -euo pipefail
MODEL=${1:?the directory of the model}
options=(
  --served-model-name rankrag-8b       # the name after ?model=
  --dtype bfloat16                     # 16 GB of weights
  --context-length 8192                # as long as Llama 3 reads; five passages and a question need about 3,000
  --mem-fraction-static 0.88           # of the GPU, for weights and known passages, which its radix tree keeps
  --sampling-defaults openai           # no temperature or penalty out of the model's generation_config.json
  --host 0.0.0.0                       # by default only this machine is answered
  --port "${PORT:-8000}"
)
exec python -m sglang.launch_server --model-path "$MODEL" "${options[@]}" "${@:2}"
