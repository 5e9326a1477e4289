#!/usr/bin/env bash
# Installs the build in $1 into a fresh prefix, moves that, builds examples/minimal against it alone, by CMake and by
# pkg-config, and runs it and the program.
#   install_test.sh BUILD_DIR SOURCE_DIR
# Without the model smollm2-135m in the cache folder the example is run on a file that does not exist, and must say so.
set -euo pipefail
build=$1
source_dir=$2

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
quietly() { "$@" >"$scratch/log" 2>&1 || { tail -n 40 "$scratch/log"; echo "failed: $*"; exit 1; }; }

quietly cmake --install "$build" --prefix "$scratch/prefix"
# Moved after the installation: nothing in it may depend on where it was installed to.
moved=$scratch/moved
mv "$scratch/prefix" "$moved"
for name in "$scratch/prefix" "$source_dir/adapters"; do
  ! grep -rlF "$name" "$moved" || { echo "these files name $name"; exit 1; }
done

cp -r "$source_dir/examples/minimal" "$scratch/minimal"
quietly env -u ggml_DIR cmake -G Ninja -S "$scratch/minimal" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$moved" \
  -DCMAKE_BUILD_TYPE=Release
quietly cmake --build "$scratch/build"

pc_folder=$(dirname "$(find "$moved" -name s3d.pc)")
flags() { PKG_CONFIG_PATH="$pc_folder" pkg-config "$@" s3d; }
flags --print-errors --exists
library_folder=$(flags --variable=libdir)
[[ -e "$moved/lib/libs3d.so" || -e "$library_folder/libs3d.so" ]] && kind=() || kind=(--static)
# -O0: whether it compiles and links is the question.
# shellcheck disable=SC2046
quietly "${CXX:-c++}" -std=c++20 -O0 "$scratch/minimal/main.cc" -o "$scratch/by-pkg-config" \
  $(flags "${kind[@]}" --cflags --libs) -Wl,-rpath,"$library_folder"

"$moved/bin/s3d" --version
model="${S3D_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/s3d}/models/smollm2-135m.gguf"
if [[ ! -e "$model" ]]; then
  echo "smollm2-135m is absent (scripts/fetch-model smollm2-135m): only the example's error is tested"
  for program in "$scratch/build/minimal" "$scratch/by-pkg-config"; do
    status=0
    message=$("$program" "$scratch/none.gguf" 2>&1) || status=$?
    echo "$message"
    [[ $status == 1 && "$message" == *none.gguf* ]]
  done
  exit 0
fi

for program in "$scratch/build/minimal" "$scratch/by-pkg-config"; do
  answer=$("$program" "$model" "The capital of France is" 8)
  echo "$answer"
  [[ "$answer" == *Paris* ]]
done
# The moved program finds the adapters that moved with it. An empty cache folder: adapters there would come first.
mkdir "$scratch/cache"
found=$(cd "$scratch" && S3D_CACHE="$scratch/cache" "$moved/bin/s3d" inspect --json -m "$model" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["adapter"])')
echo "adapter: $found"
[[ "$found" == "$moved/share/s3d/adapters/smollm2-135m.gguf" ]]
(cd "$scratch" && S3D_CACHE="$scratch/cache" "$moved/bin/s3d" generate -m "$model" -p "Say hello." --max-tokens 8 --spec s3d)
