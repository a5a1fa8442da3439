#!/usr/bin/env bash
# Serve a 70B model with SGLang 0.5.23 or newer on one machine with several GPUs, 160 GB in all or more:
#   GPUS=8 configs/serve/sglang-70b.sh runs/llama3-70b-stage2/model
#   rankrag ask "…" --model "http://HOST:8000/v1?model=rankrag-70b&concurrency=64#runs/llama3-70b-stage2/model"
# NOT RUN: SGLang needs a GPU. What was checked is in docs/backends.md.
set -euo pipefail
MODEL=${1:?the directory of the model}
options=(
  --served-model-name rankrag-70b
  --dtype bfloat16                     # 141 GB of weights: four GPUs with 80 GB hold them, eight have room for states
  --tp-size "${GPUS:-8}"               # each layer is shared out; a number that divides its 8 heads for keys
  --context-length 8192
  --mem-fraction-static 0.88           # of each GPU, for weights and known passages, which its radix tree keeps
  --sampling-defaults openai           # no temperature or penalty out of the model's generation_config.json
  --host 0.0.0.0                       # by default only this machine is answered
  --port "${PORT:-8000}"
)
exec python -m sglang.launch_server --model-path "$MODEL" "${options[@]}" "${@:2}"
