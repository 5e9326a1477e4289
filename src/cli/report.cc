#include "cli/report.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <utility>

#include "base/index.h"
#include "base/median.h"
#include "base/stopwatch.h"
#include "cli/bandwidth.h"

namespace s3d::cli {

size_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usize(usage.ru_maxrss) * 1024;  // Linux counts in KiB
}

std::string mebibytes(size_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1U << 20U));
}

RunFigures measure_run(const Runtime& runtime, const Timings& timings, bool with_reading) {
  RunFigures figures;
  figures.peak_rss = peak_resident_bytes();
  figures.weight_gbps = static_cast<double>(runtime.backend().weight_bytes()) * timings.decode_tps() / 1e9;
  if (!with_reading) return figures;
  const std::vector<Bytes> parts = weight_parts(runtime.model());
  if (parts.empty()) return figures;  // the reference: memory does not bound it
  ThreadPool pool(runtime.threads());
  const auto bytes = static_cast<double>(runtime.model().packed_bytes());
  std::vector<double> seconds;
  const Stopwatch watch;
  do {
    seconds.push_back(read_seconds(parts, pool));
  } while (seconds.size() < 5 && watch.seconds() < 0.2);
  figures.read_gbps = bytes / median(std::move(seconds)) / 1e9;
  return figures;
}

std::string closing_line(const Generation& generation, const RunFigures& figures) {
  const Timings& t = generation.timings;
  std::string line = fmt::format("prompt: {} tokens", t.prompt_tokens);
  if (t.cached_tokens > 0) line += fmt::format(" ({} cached)", t.cached_tokens);
  line += fmt::format(", {:.1f} tokens/s | answer: {} tokens, {:.1f} tokens/s", t.prefill_tps(),
                      generation.tokens.size(), t.decode_tps());
  if (figures.read_gbps > 0 && t.decoded_tokens > 0) {
    line += fmt::format(", {:.0f} % of memory bandwidth ({:.1f} of {:.1f} GB/s)",
                        100 * figures.weight_gbps / figures.read_gbps, figures.weight_gbps, figures.read_gbps);
  }
  if (figures.peak_rss > 0) line += fmt::format(" | peak memory: {}", mebibytes(figures.peak_rss));
  return line;
}

void print_setup(const Runtime& runtime, const Console& console) {
  const ModelConfig& c = runtime.config();
  console.note(fmt::format("model: {} ({}, {} layers, {} wide, {} tokens in the vocabulary)",
                           visible(c.name.empty() ? runtime.file().path() : c.name), c.family, c.n_layers, c.d_model,
                           c.vocab_size));
  console.note(fmt::format("context: {} of {} positions, {} threads, backend: {}, kernels: {}", runtime.context(),
                           c.context_length, runtime.threads(), backend_name(runtime.backend_kind()),
                           runtime.backend().name()));
}

std::string division_text(const std::vector<BackendPart>& parts) {
  std::string text;
  for (const BackendPart& part : parts) {
    const bool is_last = &part == &parts.back();
    text += text.empty() ? "" : "; ";
    if (part.first_layer < part.end_layer) text += fmt::format("{} to {}", part.first_layer, part.end_layer - 1);
    if (is_last) text += part.first_layer < part.end_layer ? " and the LM head" : "the LM head";
    text += fmt::format(" on {} ({})", visible(part.device), mebibytes(part.weight_bytes));
  }
  return text;
}

std::string division_field(const std::vector<BackendPart>& parts) {
  std::string text;
  for (const BackendPart& part : parts) {
    const bool is_last = &part == &parts.back(), has_layers = part.first_layer < part.end_layer;
    text += (text.empty() ? "" : " ") + visible(part.device) + ":";
    if (has_layers) text += fmt::format("{}-{}", part.first_layer, part.end_layer - 1);
    if (is_last) text += has_layers ? "+head" : "head";
  }
  return text;
}

Json division_json(const std::vector<BackendPart>& parts) {
  Json out = Json::array();
  for (const BackendPart& part : parts) {
    Json entry{{"device", part.device},
               {"card", part.on_card},
               {"first_layer", part.first_layer},
               {"layers", part.end_layer - part.first_layer},
               {"lm_head", &part == &parts.back()},
               {"weight_bytes", part.weight_bytes},
               {"kv_bytes_per_token", part.kv_bytes}};
    if (part.on_card) entry["card_bytes"] = part.on_card_bytes;
    out.push_back(std::move(entry));
  }
  return out;
}

void print_memory(const Runtime& runtime, size_t peak_rss, const Console& console) {
  const MemoryUse m = runtime.memory();
  console.note(fmt::format("memory: peak resident {}, file {}, weights {}, KV {}, scratch {}", mebibytes(peak_rss),
                           mebibytes(m.file), mebibytes(m.weights), mebibytes(m.kv), mebibytes(m.scratch)));
  if (m.on_cards > 0) console.note("layers: " + division_text(runtime.backend_parts()));
}

std::string csv_field(std::string text) {
  for (size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, "\"");
  return "\"" + text + "\"";
}

// DEL and the C1 controls may stand in a JSON text as they are, but would steer a terminal: escaped like all others.
std::string json_text(const Json& json) {
  const std::string plain = json.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
  std::string out;
  out.reserve(plain.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    const auto byte = static_cast<unsigned char>(plain[i]);
    const bool c1 = byte == 0xC2 && static_cast<unsigned char>(plain[i + 1]) < 0xA0;  // well-formed: a byte follows
    if (c1 || byte == 0x7F) {
      out += fmt::format("\\u{:04x}", c1 ? static_cast<unsigned char>(plain[++i]) : byte);
    } else {
      out += plain[i];
    }
  }
  return out;
}

}  // namespace s3d::cli
