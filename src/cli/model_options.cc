#include "cli/model_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/model_path.h"

namespace s3d::cli {

void ModelOptions::add_model_to(CLI::App& command) {
  const char* by_default = chooses_model ? " (default: the only one there, or smollm2-135m)" : "";
  command
      .add_option("-m,--model", runtime.model,
                  fmt::format("GGUF file, or the name of a model in the cache folder{}", by_default))
      ->required(model_is_required)
      ->type_name("MODEL");
}

void ModelOptions::add_to(CLI::App& command, const std::string& context_default) {
  add_model_to(command);
  command.add_option("-t,--threads", runtime.threads, "Threads (default: all cores this process may use)")
      ->type_name("N");
  command
      .add_option("-c,--context,--ctx-size", runtime.context,
                  fmt::format("Positions of prompt and answer (default: {})", context_default))
      ->type_name("N");
  command.add_option("--kv-type", kv_type, "How keys and values are stored (default: f16)")->type_name("f16|f32|q8_0");
  command
      .add_option(
          "--backend", backend,
          "What computes: cpu (default), cuda: an NVIDIA card, auto: the card if there is one, or, for checking "
          "and much slower, cuda-emulated and reference (double precision)")
      ->type_name("cpu|cuda|auto|…");
  command
      .add_option("--gpu-layers,--n-gpu-layers", runtime.gpu.layers,
                  "Layers on cards, the last ones; the CPU runs the others (default: as many as fit)")
      ->type_name("N");
  command.add_option("--gpu-memory", gpu_memory, "Memory of each card that may be used (default: all that is free)")
      ->type_name("MIB");
  command
      .add_option("--device", cards.device,
                  "Cards that may be used, by number or name, in the order of their layers (default: all)")
      ->type_name("0,1,…");
  command
      .add_option("--tensor-split", cards.tensor_split,
                  "Shares of the layers, one for each card (default: one card if it is enough, else by memory)")
      ->type_name("3,1,…");
  command
      .add_option("--split-mode", cards.split_mode,
                  "How cards share a model: layer (default), or none: only the card of --main-gpu")
      ->type_name("layer|none");
  command.add_option("--main-gpu", cards.main_gpu, "The card of --split-mode none (default: 0)")->type_name("N");
  command
      .add_option("--adapter", runtime.adapter,
                  "Draft adapter of the model, or none (default: the one found beside the model or in adapters/)")
      ->type_name("FILE");
  command
      .add_option("--draft-file", runtime.draft_files,
                  "File of a drafter (s3d, fused, eagle, medusa); may be given more than once (default: those found)")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command.add_option("-b,--batch", runtime.max_rows, "Rows of one prefill pass (default: 256)")->type_name("N");
}

Status ModelOptions::check() {
  const auto at_least = [](const char* name, int value, int least) -> Status {
    if (value >= least) return Ok();
    return Error{fmt::format("{} must be {} or more, got {}", name, least, value)};
  };
  S3D_TRY(at_least("--threads", runtime.threads, 0));
  S3D_TRY(at_least("--context", runtime.context, 0));
  S3D_TRY(at_least("--batch", runtime.max_rows, 1));
  S3D_TRY(at_least("--gpu-memory", gpu_memory, 0));
  runtime.gpu.memory = static_cast<size_t>(gpu_memory) << 20U;
  S3D_TRY(cards.apply(runtime.gpu));
  S3D_ASSIGN(runtime.kv_type, parse_kv_type(kv_type));
  S3D_ASSIGN(runtime.backend, parse_backend(backend));
  S3D_TRY(runtime.check());
  if (!chooses_model || !runtime.model.empty()) return Ok();
  S3D_ASSIGN(const DefaultModel chosen, default_model());
  runtime.model = chosen.name;
  chosen_because_ = chosen.reason;
  return Ok();
}

void ModelOptions::note_choice(const Console& console) const {
  if (chosen_because_.empty()) return;
  console.note(fmt::format("model: {}, {}; -m names another", visible(runtime.model), chosen_because_));
}

Result<std::unique_ptr<Runtime>> ModelOptions::load(const Console& console) const {
  RuntimeOptions options = runtime;
  options.progress = console.progress_bar();
  note_choice(console);
  auto loaded = Runtime::load(options);
  if (!loaded.ok()) return loaded;
  for (const std::string& warning : (*loaded)->tokenizer().warnings()) console.warning(warning);
  return loaded;
}

}  // namespace s3d::cli
