# The parts of scripts/check, one function each; sourced by it. $logs is a folder for their logs.

jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}

sources() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [[ -e $f ]] && echo "$f"; done; }

# build_quietly ARGUMENTS of scripts/build: prints the log only when the build fails.
build_quietly() {
  local log="$logs/build"
  scripts/build "$@" >"$log" 2>&1 || { grep -v '^\[[0-9]*/[0-9]*\] \(Building\|Linking\)' "$log" | head -n 200; return 1; }
}

# closing_lines LOG: what ctest said last.
closing_lines() { sed -n '/tests passed,/,$p' "$1"; }

# run_ctest PART DIR [ctest arguments]: prints failures and the summary; keeps the log for the closing lines.
run_ctest() {
  local part=$1 folder=$2
  shift 2
  ctest --test-dir "$folder" --parallel "$jobs" --output-on-failure --no-tests=error "$@" >"$logs/$part" 2>&1
  local status=$?
  if ((status)); then grep -vE '^ *[0-9]+/[0-9]+ .* Passed |^ *Start +[0-9]+:' "$logs/$part" | head -n 400; fi
  grep -E 'tests passed,|^Total Test time' "$logs/$part"
  return "$status"
}

part_includes() { scripts/check-includes; }

part_format() {
  sources '*.cc' '*.h' | xargs --no-run-if-empty -P "$jobs" -n 16 clang-format --dry-run --Werror 2>&1 | head -n 60
  return "${PIPESTATUS[1]}"
}

# The folder of the release build that is tested and packed. Sources of a folder are compiled together: half the time of a
# build from nothing. CI repeats the closing lines.
build_release() { build_quietly -d build-test -- -DS3D_FUZZ=ON -DCMAKE_UNITY_BUILD=ON; }

# The default model comes along, so that tests on real weights run; without a network they are skipped and say so.
part_tests() {
  scripts/fetch-model smollm2-135m >/dev/null || echo "tests: the default model could not be fetched; its tests are skipped"
  build_release && run_ctest tests build-test
  local status=$?
  [[ ! -e "$logs/tests" ]] || closing_lines "$logs/tests" >build-test/closing-lines
  return "$status"
}

part_lossless() {
  build_release && S3D_LOSSLESS=${S3D_LOSSLESS:-127} build-test/tests/lossless_test --gtest_brief=1
}

# run_asan TARGETS of scripts/build and then, after --, arguments of ctest. Without the real models (an empty cache
# folder): what they reach is reached by the tiny ones, many times faster. The fuzz entries have a part of their own,
# which runs their corpus too.
run_asan() {
  local targets=()
  while (($#)) && [[ "$1" != -- ]]; do targets+=(-t "$1"); shift; done
  shift
  build_quietly -d build-asan ${targets[@]+"${targets[@]}"} -- -DS3D_SANITIZE=address,undefined \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1" -DCMAKE_UNITY_BUILD=ON || return 1
  mkdir -p build-asan/no-models
  S3D_CACHE="$PWD/build-asan/no-models" UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 run_ctest asan build-asan "$@"
}

part_asan() { run_asan --; }

# Half of asan's time goes into building the rest. matmul_test is left out: it takes a minute to compile alone; the tests of
# the CUDA backend are not in this build.
part_asan_units() {
  local tests
  mapfile -t tests < <(sources 'src/*_test.cc' | grep -E '^src/(base|file|quant|kernels|model|backend|decode|jinja|text)/' |
    grep -vE 'matmul_test|backend/cuda/' | xargs -n 1 basename -s .cc)
  run_asan "${tests[@]}" -- --tests-regex "^($(IFS='|'; echo "${tests[*]}"))$"
}

part_soak() {
  scripts/fetch-model smollm2-135m >/dev/null || { echo "soak: the default model could not be fetched"; return 1; }
  build_release && python3 tests/serve/soak.py build-test/src/cli/s3d --seconds "${S3D_SOAK_SECONDS:-60}"
}

part_web() {
  command -v chromium chromedriver >/dev/null || {
    echo "web: no Chromium here; apt-get install chromium chromium-driver"; return 1; }
  [[ -x .deps/venv-web/bin/python ]] || python3 -m venv .deps/venv-web || return 1
  .deps/venv-web/bin/pip install --quiet --disable-pip-version-check -r tests/web/requirements.txt || return 1
  .deps/venv-web/bin/python tests/web/page_test.py
}

part_clients() {
  local environment="${S3D_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/s3d}/clients"
  scripts/fetch-model smollm2-135m >/dev/null || { echo "clients: the model could not be fetched"; return 1; }
  [[ -x "$environment/bin/python" ]] || python3 -m venv "$environment" || return 1
  "$environment/bin/pip" install --quiet --disable-pip-version-check -r tests/clients/requirements.txt || return 1
  build_release && "$environment/bin/python" tests/clients/clients_test.py build-test/src/cli/s3d smollm2-135m || return 1
  python3 tests/clients/compare_shapes.py build-test/src/cli/s3d "$(scripts/fetch-model smollm2-135m)"
  (($? == 0 || $? == 77))  # 77: llama-server is not here
}

part_tsan() {
  build_quietly -d build-tsan -t thread_pool_test -t scheduler_property_test -- -DS3D_SANITIZE=thread \
    -DCMAKE_UNITY_BUILD=ON || return 1
  TSAN_OPTIONS=halt_on_error=1 build-tsan/src/base/thread_pool_test --gtest_brief=1 &&
    TSAN_OPTIONS=halt_on_error=1 S3D_SEEDS=9 build-tsan/tests/scheduler_property_test --gtest_brief=1 \
      --gtest_filter='*EveryText*f16'
}

part_fuzz() {
  local seconds=${S3D_FUZZ_SECONDS:-20} program name status=0
  build_quietly -d build-fuzz -t fuzz_all -- -DS3D_FUZZ=ON -DS3D_TESTS=OFF -DS3D_SANITIZE=address,undefined \
    -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_UNITY_BUILD=ON -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" \
    -DS3D_GRAMMAR=OFF || return 1
  for program in build-fuzz/fuzz/*_fuzz; do
    name=$(basename "$program")
    mkdir -p "build-fuzz/corpus/$name"
    "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="build-fuzz/$name-" \
      -print_final_stats=1 "build-fuzz/corpus/$name" $(ls -d "fuzz/corpus/$name" 2>/dev/null) >"$logs/$name" 2>&1 ||
      { tail -n 60 "$logs/$name"; status=1; }
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name") inputs tried"
  done
  return "$status"
}

part_tidy() {
  # The commands of a configuration for clang, because the release build's have flags that only g++ knows.
  cmake -S . -B build-tidy -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DS3D_TESTS=OFF >"$logs/tidy" 2>&1 ||
    { cat "$logs/tidy"; return 1; }
  scripts/tidy build-tidy --jobs "$jobs" ${S3D_TIDY_MOST:+--most "$S3D_TIDY_MOST"}
}

part_wheel() {
  local environment=build-test/wheel-environment wheel model answer
  build_release && wheel=$(scripts/make-wheel -b build-test) || return 1
  rm -rf "$environment"
  python3 -m venv "$environment" && "$environment/bin/pip" install --quiet --no-index "$wheel" || return 1
  "$environment/bin/s3d" --version || return 1
  model=$(scripts/fetch-model smollm2-135m) || { echo "wheel: no model, so it was not asked anything"; return 0; }
  answer=$("$environment/bin/s3d" generate -m "$model" -p "The capital of France is" --raw --max-tokens 4 2>/dev/null)
  [[ "$answer" == *Paris* ]] || { echo "wheel: its s3d said '$answer' and not Paris"; return 1; }
}

part_deb() {
  build_release && (cd build-test && rm -f ./*.deb && cpack -G DEB) >"$logs/deb" 2>&1 || { cat "$logs/deb"; return 1; }
  if ((EUID == 0)) && command -v debootstrap >/dev/null; then
    scripts/try-deb build-test/s3d_*.deb
  else
    echo "deb: made; to try it in a bare Debian, root and debootstrap are needed"
  fi
}

# libtorch's headers are slow to compile: the trainer's own tests only.
part_train() {
  scripts/setup-train || return 1
  build_quietly -d build-train -t train_tests -- -DS3D_TRAIN=ON && run_ctest train build-train --label-regex train
}

# Without cards in the build. Of a cache that the release build has filled, all but the backend itself comes ready-made.
part_emulated() {
  local test targets=(-t split_backend_test -t emulated_cuda_test -t emulated_scheduler_test -t gpu_check)
  while read -r test; do targets+=(-t "$(basename "$test" .cc)"); done < <(sources 'src/backend/cuda/*_test.cc')
  build_quietly -d build-cuda "${targets[@]}" -- -DS3D_CUDA=ON -DS3D_NVCC=OFF -DCMAKE_UNITY_BUILD=ON || return 1
  run_ctest cuda build-cuda -R 'Emulat|MatmulKernel|ChooseKernel|MemoryPlan|CardNeeds|PlantedFaults|Cuda(Backend|Features)|SplitBackend|gpu_check'
}

part_cuda() {
  local status=0
  scripts/setup --cuda && part_emulated || status=1
  scripts/check-cuda-code || status=1
  return "$status"
}
