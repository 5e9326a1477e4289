#!/usr/bin/env bash
# What scripts/gpu-check packs runs in a folder of its own, with nothing of this machine's settings: all of its steps on the
# emulated device; and without a card it says that there is none.
#
#   tests/scripts/gpu_check_test.sh BUILD    a folder built with -DS3D_CUDA=ON
set -euo pipefail
build=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
S3D_CACHE="$folder" "$(dirname "$0")/../../scripts/gpu-check" --pack "$folder/packed.tar.gz" "$build"
tar xzf "$folder/packed.tar.gz" -C "$folder"
(cd / && env -i PATH=/usr/bin:/bin "$folder/gpu-check/gpu-check" --emulated) | tee "$folder/table"
for wanted in 'matmul_kernel_test *passed' 'cuda_backend_test *passed' 'features_test *passed' 'cost(1 9)' \
              'bit by bit: yes' 'prefill of 16' 'draft of 5' 'all passed'; do
  grep -q "$wanted" "$folder/table" || { echo "the table lacks: $wanted"; exit 1; }
done
python3 - "$folder/gpu-check/gpu-check.json" <<'PYTHON'
import json
import sys

figures = json.load(open(sys.argv[1]))
assert figures["device"] == "emulated" and len(figures["commit"]) >= 7, figures
assert [c["verdict"] for c in figures["checks"]] == ["passed"] * 3, figures["checks"]
assert figures["products"][0]["n"] == [1, 9] and figures["models"][0]["same_bits"], figures
PYTHON
command -v nvidia-smi >/dev/null && exit 0
status=0
env -i PATH=/usr/bin:/bin "$folder/gpu-check/gpu-check" >"$folder/said" 2>&1 || status=$?
grep -q 'no NVIDIA card can be used' "$folder/said" && ((status == 2)) || { echo "without a card: exit code $status"; exit 1; }
