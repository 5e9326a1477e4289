#include "train/cli/machine.h"

#include <dlfcn.h>
#include <malloc.h>

#include <CLI/CLI.hpp>

namespace s3d::train {
namespace {

// A step makes and drops the same large tensors again and again: by default each is a mapping of its own that the
// kernel fills with zeros, page by page.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

}  // namespace

// OpenBLAS has threads of its own beside libtorch's; it is told only if it is there.
void set_threads(int threads) {
  if (threads <= 0) return;
  at::set_num_threads(threads);
  if (void* symbol = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) {
    reinterpret_cast<void (*)(int)>(symbol)(threads);
  }
}

void MachineOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "cpu, or cuda where libtorch has it")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command.add_option("--threads", threads, "threads of matrix products (default: all cores)");
}

Status MachineOptions::apply(Recipe& recipe) const {
  keep_freed_memory();
  set_threads(threads);
  if (device == "cpu") return Ok();
  // The CUDA half of libtorch makes itself known when it is loaded. Nothing here names anything of it, so a linker may
  // have left it out.
  dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  if (!torch::cuda::is_available()) return Error{"--device cuda: this libtorch finds no CUDA device; use --device cpu"};
  at::globalContext().setAllowTF32CuBLAS(true);  // for what is not in --base-dtype: LoRA and attention
  recipe.device = torch::Device(torch::kCUDA, 0);
  return Ok();
}

}  // namespace s3d::train
