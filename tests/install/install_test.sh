#!/usr/bin/env bash
# Installs the build in $1 into a fresh prefix, builds examples/minimal against that installation alone and runs it.
#   install_test.sh BUILD_DIR SOURCE_DIR
# Without the model smollm2-135m in the cache folder the example is run on a file that does not exist, and must say so.
set -euo pipefail
build=$1
source_dir=$2

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/log" || { tail -n 20 "$scratch/log"; exit 1; }
# Moved after the installation: nothing in it may depend on where it was installed to.
mv "$scratch/prefix" "$scratch/moved"
cp -r "$source_dir/examples/minimal" "$scratch/minimal"
env -u ggml_DIR cmake -G Ninja -S "$scratch/minimal" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/moved" \
  -DCMAKE_BUILD_TYPE=Release >"$scratch/log" || { cat "$scratch/log"; exit 1; }
cmake --build "$scratch/build" >"$scratch/log" || { cat "$scratch/log"; exit 1; }

"$scratch/moved/bin/s3d" --version
model="${S3D_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/s3d}/models/smollm2-135m.gguf"
if [[ -e "$model" ]]; then
  answer=$("$scratch/build/minimal" "$model" "The capital of France is" 8)
  echo "$answer"
  [[ "$answer" == *Paris* ]]
else
  echo "smollm2-135m is absent (scripts/fetch-model smollm2-135m): only the example's error is tested"
  status=0
  message=$("$scratch/build/minimal" "$scratch/none.gguf" 2>&1) || status=$?
  echo "$message"
  [[ $status == 1 && "$message" == *none.gguf* ]]
fi
