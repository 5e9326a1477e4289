#!/usr/bin/env bash
# scripts/train-on-gpu on the processor with a tiny model: packed text, a time box, a stop in the middle and its resumption,
# and what it says where there is no card.
#
#   train/cli/train_on_gpu_test.sh PROGRAM    an s3d-train that is built
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
S3D_TRAIN_PROGRAM=$(realpath "$1")
export S3D_TRAIN_PROGRAM
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "$*" >&2; exit 1; }

model="$root/tests/data/models/llama-f32.gguf"
awk 'BEGIN { srand(1); for (n = 0; n < 24; ++n) { line = "{\"prompt_tokens\":[1,2,3," n "],\"answer_tokens\":[" n
       for (t = 1; t < 30; ++t) line = line "," (n + 3 * t) % 40; print line "]}" } }' >"$folder/text.jsonl"
"$S3D_TRAIN_PROGRAM" pack -m "$model" --data "$folder/text.jsonl" -o "$folder/text.zst" --note "by awk" >"$folder/packed"
grep -q '"answer_tokens": 720' "$folder/packed" || fail "$(cat "$folder/packed")"

train() {
  "$root/scripts/train-on-gpu" "$model" --device cpu --minutes 0.1 --text "$folder/text.zst" --init none -o "$folder/out" -- \
    --sequences 2 --anchors=4 --max-length 64 --draft-vocab 0 --lora-rank 4 --threads 1 --report-seconds 1 --checkpoint-seconds 1 --warmup 2 --held-out 2 "$@"
}
status=0
train --max-minutes 0.02 >"$folder/first" 2>&1 || status=$?
((status == 130)) || fail "a stopped run ended with $status: $(cat "$folder/first")"
[[ -e "$folder/out/checkpoint" && ! -e "$folder/out/train-on-gpu.json" ]] || fail "of a stopped run: $(ls "$folder/out")"
train >"$folder/second" 2>&1 || fail "$(cat "$folder/second")"
grep -q 'going on from step' "$folder/second" || fail "it did not go on: $(cat "$folder/second")"
grep -q 'anchors a second' "$folder/second" || fail "no rate: $(cat "$folder/second")"
for file in adapter.gguf curve.csv curve.svg; do [[ -s "$folder/out/$file" ]] || fail "$file is missing"; done
python3 - "$folder/out/train-on-gpu.json" <<'PYTHON'
import json
import sys

figures = json.load(open(sys.argv[1]))
assert figures["model"] == "llama-f32" and figures["minutes"] == 0.1 and len(figures["commit"]) >= 7, figures
run = figures["run"]
assert run["device"] == "cpu" and run["steps"] > 0 and run["anchors"] > 0 and run["anchors_per_second"] > 0, run
PYTHON

"$root/scripts/train-on-gpu" "$model" --minutes none >"$folder/said" 2>&1 && fail "a wrong number was taken"
grep -q 'a number was expected' "$folder/said" || fail "$(cat "$folder/said")"
if ! command -v nvidia-smi >/dev/null; then
  status=0
  "$root/scripts/train-on-gpu" "$model" --text "$folder/text.zst" >"$folder/said" 2>&1 || status=$?
  ((status == 2)) && grep -q 'no NVIDIA card' "$folder/said" || fail "without a card ($status): $(cat "$folder/said")"
fi
