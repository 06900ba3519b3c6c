#!/bin/sh
# From a bare machine with an NVIDIA driver and the CUDA toolkit to a report, in one call:
#   benchmarks/gpu/run.sh [--dry-run] [REPORT.md]
# --dry-run prints the commands. TENSORRT=tensorrt-rtx takes the RTX flavour (not for H100 or Jetson).
set -eu
cd "$(dirname "$0")/../.."

step() {
  echo "+ $*"
  if [ -z "${dry_run}" ]; then "$@"; fi
}

dry_run=""
if [ "${1:-}" = "--dry-run" ]; then dry_run=yes; shift; fi
report="${1:-gpu_report.md}"
environment="${GPU_ENVIRONMENT:-build/gpu_environment}"

# PyCUDA has no wheels: its sdist wants the toolkit by name, and cuRAND is not used here.
CUDA_ROOT="${CUDA_ROOT:-${CUDA_HOME:-/usr/local/cuda}}"
export CUDA_ROOT CUDA_ENABLE_CURAND=False PATH="${CUDA_ROOT}/bin:${PATH}"

step python3 -m venv "${environment}"
step "${environment}/bin/pip" install --no-binary pycuda ".[pycuda,${TENSORRT:-tensorrt},train]"
if [ -n "${dry_run}" ]; then
  step "${environment}/bin/python" -m benchmarks.gpu.measure --dry-run
else
  step "${environment}/bin/python" -m benchmarks.gpu.measure --out "${report}"
fi
