// s3d inspect: what is in a GGUF file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <vector>

#include "cli/card_options.h"
#include "cli/program.h"
#include "cli/report.h"
#include "engine/adapter_path.h"
#include "engine/model_path.h"
#include "engine/runtime.h"
#include "engine/speculation.h"
#include "kernels/kernels.h"
#include "kernels/packed_matrix.h"
#include "model/adapter.h"
#include "model/config.h"
#include "model/drafter_file.h"
#include "model/family.h"
#include "model/fingerprint.h"
#include "model/layout.h"

namespace s3d::cli {
namespace {

struct InspectCommand {
  std::string model;
  bool tensors = false;
  bool checksums = false;
  bool json = false;
  // For the division of the layers.
  RuntimeOptions runtime;
  int gpu_memory = 0;  // MiB
  std::string kv_type = "f16";
  CardOptions cards;
};

constexpr const char* kInspectFooter = R"(Examples:
  s3d inspect smollm2-135m
  s3d inspect model.gguf --tensors
  s3d inspect model.gguf --gpu-memory 8000 -c 16384
  s3d inspect model.gguf --checksums --json | jq '.tensors[0]')";

struct TypeTotal {
  size_t tensors = 0;
  size_t bytes = 0;
};

std::map<std::string, TypeTotal> totals_by_type(const GgufFile& file) {
  std::map<std::string, TypeTotal> totals;
  for (const Tensor& t : file.tensors()) {
    TypeTotal& total = totals[ggml_type_name(t.type)];
    ++total.tensors;
    total.bytes += t.bytes;
  }
  return totals;
}

bool is_adapter(const GgufFile& file) {
  const auto architecture = file.string("general.architecture");
  return architecture.ok() && *architecture && **architecture == adapter_names::kArchitecture;
}

// Bytes of the tensors of each part of an adapter: "lora" of "blk.3.attn_q.lora_a", "markov" of "markov.p", …
std::map<std::string, size_t> adapter_parts(const GgufFile& file) {
  std::map<std::string, size_t> parts;
  for (const Tensor& t : file.tensors()) {
    const bool lora = t.name.ends_with(".lora_a") || t.name.ends_with(".lora_b");
    const std::string part = lora ? "lora" : t.name.starts_with("blk.") ? "layer" : t.name.substr(0, t.name.find('.'));
    parts[part] += t.bytes;
  }
  return parts;
}

void print_parts(const GgufFile& file, const Console& console) {
  for (const auto& [part, bytes] : adapter_parts(file)) {
    console.text(fmt::format("part         {:<12} {:>12}\n", visible(part), mebibytes(bytes)));
  }
}

void print_drafter(const GgufFile& file, const DrafterHeader& header, const Console& console) {
  console.text(fmt::format("{} drafter of {} (fingerprint {})\n", header.kind,
                           header.base_name.empty() ? "unnamed" : visible(header.base_name),
                           fingerprint_text(header.base_fingerprint)));
  for (const std::string_view key : {draft_file_names::kEagleTaps, draft_file_names::kMedusaHeads}) {
    const std::string name(key.substr(key.find('.') + 1)), value = file.value_text(key);
    if (!value.empty()) console.text(fmt::format("{:<12} {}\n", name, visible(value)));
  }
  print_parts(file, console);
}

void print_adapter(const GgufFile& file, const Console& console) {
  const auto header = read_drafter_header(file);
  if (header.ok() && (header->kind == draft_file_names::kEagle || header->kind == draft_file_names::kMedusa)) {
    return print_drafter(file, *header, console);
  }
  const auto config = read_adapter_config(file);
  if (!config.ok()) {
    console.text(fmt::format("not usable: {}\n", visible(config.error().message)));
    return;
  }
  console.text(fmt::format("adapter of   {} (fingerprint {})\n",
                           config->base_name.empty() ? "unnamed" : visible(config->base_name),
                           fingerprint_text(config->base_fingerprint)));
  console.text(config->fused ? fmt::format("plan         fused: {} masks ride in full passes, {} tokens a draft\n",
                                           config->masks, config->depth())
                             : fmt::format("plan         first {} and last {} layers, {} masks: {} tokens a draft\n",
                                           config->layers.first, config->layers.last, config->masks, config->depth()));
  print_parts(file, console);
}

// ---- Which layers would lie where ----------------------------------------------------------------------------------

// Cards of the memory that --gpu-memory says, where there are none; as many as there are shares.
void imagine_cards(GpuOptions& gpu) {
  gpu.emulated.assign(std::max<size_t>(1, gpu.shares.size()), gpu.memory);
}

// Of the model with its drafters; without a card, unless one was asked about, all is the CPU's.
Result<std::vector<BackendPart>> division_of(const InspectCommand& o, const std::string& path) {
  RuntimeOptions runtime = o.runtime;
  runtime.model = path;
  S3D_ASSIGN(const BackendKind best, parse_backend("auto"));
  runtime.backend = best;
  if (best != BackendKind::kCuda && o.gpu_memory == 0) runtime.gpu = {};
  if (best != BackendKind::kCuda && o.gpu_memory > 0) {
    S3D_ASSIGN(runtime.backend, parse_backend(backend_name(BackendKind::kCudaEmulated)));
    imagine_cards(runtime.gpu);
  }
  S3D_ASSIGN(std::vector<BackendPart> parts, Runtime::plan(runtime));
  int number = 0;
  for (BackendPart& part : parts) {
    const bool imagined = part.on_card && best != BackendKind::kCuda;
    if (imagined) part.device = fmt::format("card {}", number++);
  }
  return parts;
}

int context_of(const InspectCommand& o, const ModelConfig& config) {
  return o.runtime.context > 0 ? o.runtime.context : std::min(config.context_length, Runtime::kDefaultContext);
}

void print_division(const GgufFile& file, const InspectCommand& o, const ModelConfig& config, const Console& console) {
  const KvLayout layout{o.runtime.kv_type, config.head_dim, config.n_kv_heads, config.n_layers};
  const size_t token = layout.page_bytes() / KvLayout::kPageTokens;
  const int context = context_of(o, config);
  console.text(fmt::format("kv cache     {} bytes a token as {}, {} for {} tokens\n", token, o.kv_type,
                           mebibytes(token * static_cast<size_t>(context)), context));
  const auto parts = division_of(o, file.path());
  if (!parts.ok()) {
    console.text(fmt::format("layers       {}\n", visible(parts.error().message)));
    return;
  }
  console.text(fmt::format("layers       {}\n", division_text(*parts)));
  for (const BackendPart& part : *parts) {
    if (!part.on_card) continue;
    console.text(fmt::format("card         {:<14} {} of its memory: weights {}, KV cache {}, and buffers\n",
                             visible(part.device), mebibytes(part.on_card_bytes), mebibytes(part.weight_bytes),
                             mebibytes(part.kv_bytes * static_cast<size_t>(context))));
  }
}

// What the file's metadata, tensors and tokenizer say of the model.
struct Runnable {
  ModelConfig config;
  std::vector<std::string> warnings;  // of the tokenizer
};

// An error is why it cannot run. Reads no weights.
Result<Runnable> read_runnable(const GgufFile& file) {
  Runnable model;
  S3D_ASSIGN(model.config, read_model_config(file));
  S3D_TRY(check_tensors(file, model.config, *find_family(model.config.family)));
  S3D_ASSIGN(const Tokenizer tokenizer, load_tokenizer(file, model.config));
  model.warnings = tokenizer.warnings();
  return model;
}

std::vector<OpenDrafter> drafters_of(const GgufFile& file) {
  return open_drafters(find_draft_files(file.path(), base_fingerprint(file)));
}

Json to_json(const GgufFile& file, const InspectCommand& o) {
  constexpr size_t kMaxChars = 4096;
  Json out{{"file", file.path()},
           {"gguf_version", file.version()},
           {"parts", file.parts()},
           {"bytes", file.file_bytes()},
           {"fingerprint", fingerprint_text(base_fingerprint(file))}};
  for (const std::string& key : file.keys()) out["metadata"][key] = file.value_text(key, kMaxChars);
  for (const auto& [type, total] : totals_by_type(file)) {
    out["types"][type] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
  }
  if (is_adapter(file)) {
    out["adapter_parts"] = adapter_parts(file);
  } else if (const auto model = read_runnable(file); !model.ok()) {
    out["not_runnable"] = model.error().message;
  } else {
    out["warnings"] = model->warnings;
    out["adapter"] = find_adapter(file.path(), base_fingerprint(file));
    for (const OpenDrafter& drafter : drafters_of(file)) out["drafters"].push_back(drafter.name);
    for (const BackendKind kind : backend_kinds()) out["backends"].push_back(backend_name(kind));
    const auto parts = division_of(o, file.path());
    if (!parts.ok()) out["not_divided"] = parts.error().message;
    if (parts.ok()) out["devices"] = division_json(*parts);
  }
  out["tensors"] = Json::array();
  for (const Tensor& t : file.tensors()) {
    Json entry{{"name", t.name}, {"type", ggml_type_name(t.type)}, {"shape", t.shape}, {"bytes", t.bytes}};
    if (o.checksums) entry["xxh3"] = tensor_checksum(file, t);
    out["tensors"].push_back(std::move(entry));
  }
  return out;
}

void print_model(const GgufFile& file, const InspectCommand& o, const Console& console) {
  if (is_adapter(file)) return print_adapter(file, console);
  const auto model = read_runnable(file);
  if (!model.ok()) {
    console.text(fmt::format("not runnable: {}\n", visible(model.error().message)));
    return;
  }
  const ModelConfig& config = model->config;
  console.text(fmt::format("model        {} ({}), {} layers, {} wide, {} + {} heads of {}, feed-forward {}\n",
                           config.name.empty() ? "unnamed" : visible(config.name), config.family, config.n_layers,
                           config.d_model, config.n_heads, config.n_kv_heads, config.head_dim, config.d_ff));
  console.text(
      fmt::format("context      {} positions, vocabulary {} tokens\n", config.context_length, config.vocab_size));
  for (const std::string& warning : model->warnings) console.text(fmt::format("warning      {}\n", visible(warning)));
  const auto kernels = choose_kernels();
  console.text(fmt::format("backend      {:<14} kernels: {}\n", backend_name(BackendKind::kCpu),
                           kernels.ok() ? (*kernels)->name : kernels.error().message));
  for (const BackendKind kind : backend_kinds()) {
    if (kind == BackendKind::kCpu) continue;
    console.text(fmt::format("backend      {:<14} {}\n", backend_name(kind), backend_note(kind)));
  }
  for (const OpenDrafter& d : drafters_of(file)) {
    console.text(fmt::format("drafter      {:<14} {}\n", d.name, visible(d.note)));
  }
  print_division(file, o, config, console);
}

void print_text(const GgufFile& file, const InspectCommand& o, const Console& console) {
  console.text(fmt::format("file         {} (GGUF version {}, {} part{}, {})\n", visible(file.path()), file.version(),
                           file.parts(), file.parts() == 1 ? "" : "s", mebibytes(file.file_bytes())));
  console.text(fmt::format("fingerprint  {}\n", fingerprint_text(base_fingerprint(file))));
  print_model(file, o, console);
  console.text(fmt::format("\n{}\n", console.styled_out(Style::kBold, "metadata")));
  for (const std::string& key : file.keys())
    console.text(fmt::format("  {} = {}\n", visible(key), visible(file.value_text(key))));
  console.text(fmt::format("\n{}\n", console.styled_out(Style::kBold, "tensors")));
  for (const auto& [type, total] : totals_by_type(file)) {
    console.text(fmt::format("  {:>5} of type {:<6} {:>12}\n", total.tensors, type, mebibytes(total.bytes)));
  }
  if (!o.tensors && !o.checksums) return;
  for (const Tensor& t : file.tensors()) {
    const std::string checksum = o.checksums ? "  " + tensor_checksum(file, t) : "";
    console.text(fmt::format("  {:<40} {:<6} {:>20} {:>12}{}\n", visible(t.name), ggml_type_name(t.type),
                             fmt::format("[{}]", fmt::join(t.shape, ", ")), t.bytes, checksum));
  }
}

Status check_inspect(InspectCommand& o) {
  if (o.gpu_memory < 0) return Error{fmt::format("--gpu-memory must be 0 or more, got {}", o.gpu_memory)};
  if (o.runtime.context < 0) return Error{fmt::format("--context must be 1 or more, got {}", o.runtime.context)};
  o.runtime.gpu.memory = static_cast<size_t>(o.gpu_memory) << 20U;
  S3D_ASSIGN(o.runtime.kv_type, parse_kv_type(o.kv_type));
  return o.cards.apply(o.runtime.gpu);
}

Result<int> run_inspect(const InspectCommand& o, Console& console) {
  S3D_ASSIGN(const std::string path, find_model(o.model));
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  if (o.json) {
    console.text(json_text(to_json(file, o)));
  } else {
    print_text(file, o, console);
  }
  return kExitOk;
}

}  // namespace

void add_inspect(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("inspect", "What is in a GGUF file")->footer(kInspectFooter);
  auto o = std::make_shared<InspectCommand>();
  command->add_option("model,-m,--model", o->model, "GGUF file, or the name of a model in the cache folder")
      ->required()
      ->type_name("MODEL");
  command->add_flag("--tensors", o->tensors, "List every tensor: name, type, shape, bytes");
  command->add_flag("--checksums", o->checksums, "The same, with the XXH3-64 of its bytes (reads the whole file)");
  command->add_flag("--json", o->json, "One JSON object");
  command->add_option("-c,--context,--ctx-size", o->runtime.context, "Positions of the KV cache (default: as to run)")
      ->type_name("N");
  command->add_option("--kv-type", o->kv_type, "Type of stored keys and values: f16 (default), f32, q8_0")
      ->type_name("TYPE");
  command->add_option("--gpu-layers,--n-gpu-layers", o->runtime.gpu.layers, "Layers on cards (default: as many as fit)")
      ->type_name("N");
  command
      ->add_option("--gpu-memory", o->gpu_memory,
                   "Memory of a card, for how the layers would be divided (default: what is free)")
      ->type_name("MIB");
  command->add_option("--tensor-split", o->cards.tensor_split, "Shares of the layers, one for each card")
      ->type_name("SHARES");
  on_chosen<InspectCommand>(*command, program, o, check_inspect, run_inspect);
}

}  // namespace s3d::cli
