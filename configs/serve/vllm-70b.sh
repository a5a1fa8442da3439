#!/usr/bin/env bash
# Serve a 70B model with vLLM 0.32 or newer on one machine with several GPUs, 160 GB in all or more:
#   GPUS=8 configs/serve/vllm-70b.sh runs/llama3-70b-stage2/model
#   rankrag ask "…" --model "http://HOST:8000/v1?model=rankrag-70b&concurrency=64#runs/llama3-70b-stage2/model"
# With GPUS=2 add --quantization fp8, which moves scores a little: compare with rankrag parity --against first.
# NOT RUN: no GPU was at hand. What was checked is in docs/backends.md.
set -euo pipefail
MODEL=${1:?the directory of the model}
options=(
  --served-model-name rankrag-70b
  --dtype bfloat16                     # 141 GB of weights: four GPUs with 80 GB hold them, eight have room for states
  --tensor-parallel-size "${GPUS:-8}"  # each layer is shared out; a number that divides its 8 heads for keys
  --max-model-len 8192
  --gpu-memory-utilization 0.92
  --enable-prefix-caching              # a passage stands before the question: known passages are not read again
  --logprobs-mode raw_logprobs         # P(True) of the model itself, before temperature and penalties
  --max-logprobs 20                    # three are asked for
  --generation-config vllm             # no temperature or penalty out of the model's generation_config.json
  --port "${PORT:-8000}"
)
exec vllm serve "$MODEL" "${options[@]}" "${@:2}"
