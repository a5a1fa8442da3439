#!/usr/bin/env bash
# Start a training run on this machine's GPUs. For several machines, run the same line on each of them.
#   configs/train/launch.sh CONFIG [--set key=value …]
#   NODES=16 HOST=first-machine configs/train/launch.sh CONFIG
set -euo pipefail
: "${NODES:=1}" "${GPUS:=$(nvidia-smi --list-gpus | wc -l)}" "${HOST:=localhost}" "${PORT:=29500}"
exec torchrun --nnodes "$NODES" --nproc-per-node "$GPUS" \
  --rdzv-backend c10d --rdzv-endpoint "$HOST:$PORT" --rdzv-id "$(basename "$1" .yaml)" -m rankrag train "$@"
