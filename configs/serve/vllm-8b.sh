#!/usr/bin/env bash
# Serve an 8B model with vLLM 0.32 or newer on one GPU with 24 GB or more; rank and answer with it from anywhere:
#   configs/serve/vllm-8b.sh runs/llama3-8b-stage2/model
#   rankrag ask "…" --model "http://HOST:8000/v1?model=rankrag-8b&concurrency=64#runs/llama3-8b-stage2/model"
# The directory holds weights, tokenizer and contract; of the last two, the machine that asks needs a copy.
# NOT RUN with 8B: no GPU was at hand. It served rankrag-mini on a CPU: docs/backends.md.
set -euo pipefail
MODEL=${1:?the directory of the model}
options=(
  --served-model-name rankrag-8b       # the name after ?model=
  --dtype bfloat16                     # 16 GB of weights
  --max-model-len 8192                 # as long as Llama 3 reads; five passages and a question need about 3,000
  --gpu-memory-utilization 0.90        # what weights leave of it keeps known passages
  --enable-prefix-caching              # a passage stands before the question: known passages are not read again
  --logprobs-mode raw_logprobs         # P(True) of the model itself, before temperature and penalties
  --max-logprobs 20                    # three are asked for
  --generation-config vllm             # no temperature or penalty out of the model's generation_config.json
  --port "${PORT:-8000}"
)
exec vllm serve "$MODEL" "${options[@]}" "${@:2}"
