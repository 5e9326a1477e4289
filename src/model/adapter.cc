#include "model/adapter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/index.h"
#include "model/drafter_file.h"
#include "model/drafter_reader.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

namespace names = adapter_names;

constexpr int kMaxPlanLayers = 4096;  // only guards against absurd numbers; the base's own count is checked later

// Metadata and shapes.
class Reader : public DrafterReader {
 public:
  using DrafterReader::DrafterReader;

  Result<int> integer(std::string_view key, int min, int max) const {
    S3D_ASSIGN(const auto value, file_.integer(key));
    if (!value) return error("metadata key \"{}\" is missing", key);
    if (*value < min || *value > max)
      return error("metadata key \"{}\" is {}, expected {} to {}", key, *value, min, max);
    return static_cast<int>(*value);
  }

  // The tensor, of at most so many dimensions (last ones of extent 1 are not kept), or null if it is absent.
  Result<const Tensor*> find(std::string_view name, size_t dimensions) const {
    const Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr || tensor->shape.size() <= dimensions) return tensor;
    return error("tensor \"{}\" has the shape [{}], expected at most {} dimensions", name,
                 fmt::join(tensor->shape, ", "), dimensions);
  }

  // A low-rank pair; the rank of every pair of one kind must be equal, and goes to `rank` (0: no pair seen yet).
  Result<LowRank> pair(const std::string& a_name, const std::string& b_name, int& rank) const {
    S3D_ASSIGN(const Tensor* a, find(a_name, 2));
    S3D_ASSIGN(const Tensor* b, find(b_name, 2));
    if ((a == nullptr) != (b == nullptr)) {
      return error("tensor \"{}\" is missing, though \"{}\" is there", a == nullptr ? a_name : b_name,
                   a == nullptr ? b_name : a_name);
    }
    if (a == nullptr) return LowRank{};
    const int64_t inner = a->rows();
    if (inner < 1 || inner > AdapterConfig::kMaxRank || b->cols() != inner || (rank != 0 && rank != inner)) {
      return error("tensors \"{}\" [{}] and \"{}\" [{}] have no common rank{} of 1 to {}", a_name,
                   fmt::join(a->shape, ", "), b_name, fmt::join(b->shape, ", "),
                   rank == 0 ? "" : fmt::format(" (others have {})", rank), AdapterConfig::kMaxRank);
    }
    rank = static_cast<int>(inner);
    return LowRank{a, b};
  }
};

// Not the file of another drafter.
Status check_adapter(const GgufFile& file, const Reader& reader) {
  S3D_TRY(reader.check_format());
  S3D_ASSIGN(const auto kind, file.string("s3d.kind"));
  if (kind == draft_file_names::kEagle || kind == draft_file_names::kMedusa) {
    return reader.error("a drafter's file of kind \"{}\", not an adapter of S3D's: name it with --draft-file", *kind);
  }
  return Ok();
}

Status read_kind(const GgufFile& file, const Reader& reader, AdapterConfig& config) {
  S3D_ASSIGN(const auto kind, file.string("s3d.kind"));
  config.fused = kind == names::kKindFused;
  if (kind && !config.fused) {
    return reader.error("metadata key \"s3d.kind\" is \"{:.40}\", this program knows \"{}\": get a newer s3d", *kind,
                        names::kKindFused);
  }
  if (!config.fused || config.masks > 0) return Ok();
  return reader.error("s3d.kind is \"{}\", but s3d.plan.masks is 0: such an adapter drafts by its masks alone",
                      names::kKindFused);
}

Status read_plan(const GgufFile& file, const Reader& reader, AdapterConfig& config) {
  S3D_ASSIGN(config.base_fingerprint, reader.base_fingerprint());
  S3D_ASSIGN(const auto name, file.string("s3d.base.name"));
  config.base_name = name.value_or("");
  S3D_ASSIGN(config.layers.first, reader.integer("s3d.plan.head", 0, kMaxPlanLayers));
  S3D_ASSIGN(config.layers.last, reader.integer("s3d.plan.tail", 0, kMaxPlanLayers));
  S3D_ASSIGN(config.masks, reader.integer("s3d.plan.masks", 0, AdapterConfig::kMaxMasks));
  S3D_ASSIGN(const auto first_row, file.boolean("s3d.state.first_row"));
  config.state_on_first_row = first_row.value_or(false);
  if (config.layers.count() > 0) return read_kind(file, reader, config);
  return reader.error("the plan keeps no layer (s3d.plan.head and s3d.plan.tail are 0)");
}

// The base layer of "blk.LAYER.TARGET.lora_a" or "….lora_b"; nullopt for any other name.
std::optional<int> lora_layer(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* end = name.data() + name.size();
  int layer = -1;
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, layer);
  if (parsed.ec != std::errc() || layer < 0) return std::nullopt;
  for (int target = 0; target < kLoraTargets; ++target) {
    for (const char part : {'a', 'b'}) {
      if (name == names::lora(layer, static_cast<LoraTarget>(target), part)) return layer;
    }
  }
  return std::nullopt;
}

bool is_part_name(std::string_view name) {
  for (const std::string_view known :
       {names::kMasks, names::kDraftIds, names::kMarkovP, names::kMarkovW2, names::kStateDown, names::kStateUp,
        names::kBridgeDown, names::kBridgeUp, names::kConfidenceW, names::kConfidenceB, names::kNgramTokens,
        names::kNgramChance}) {
    if (name == known) return true;
  }
  return false;
}

// The ranks of all LoRA pairs, and no tensor whose use is not known.
Status read_lora(const GgufFile& file, const Reader& reader, AdapterConfig& config) {
  std::set<int> layers;
  for (const Tensor& tensor : file.tensors()) {
    if (const auto layer = lora_layer(tensor.name)) {
      layers.insert(*layer);
    } else if (!is_part_name(tensor.name)) {
      return reader.error("tensor \"{:.80}\" is not part of an adapter of this version", tensor.name);
    }
  }
  for (const int layer : layers) {
    for (int i = 0; i < kLoraTargets; ++i) {
      const auto target = static_cast<LoraTarget>(i);
      S3D_TRY(reader.pair(names::lora(layer, target, 'a'), names::lora(layer, target, 'b'), config.lora_rank));
    }
  }
  return Ok();
}

Status read_heads(const GgufFile& file, const Reader& reader, AdapterConfig& config) {
  S3D_TRY(reader.pair(std::string(names::kBridgeDown), std::string(names::kBridgeUp), config.bridge_rank));
  S3D_TRY(reader.pair(std::string(names::kStateDown), std::string(names::kStateUp), config.state_rank));
  S3D_TRY(reader.pair(std::string(names::kMarkovP), std::string(names::kMarkovW2), config.markov_rank));
  S3D_ASSIGN(const Tensor* masks, reader.find(names::kMasks, 2));
  if ((masks == nullptr ? 0 : masks->rows()) != config.masks) {
    return reader.error("s3d.plan.masks is {}, but tensor \"{}\" has {} rows", config.masks, names::kMasks,
                        masks == nullptr ? 0 : masks->rows());
  }
  S3D_ASSIGN(const Tensor* ids, reader.find(names::kDraftIds, 1));
  if (ids != nullptr) {
    if (ids->type != GGML_TYPE_I32 || ids->cols() < 1 || ids->cols() > (1 << 24)) {
      return reader.error("tensor \"{}\" has type {} and {} values, expected i32 and 1 to {}", names::kDraftIds,
                          ggml_type_name(ids->type), ids->cols(), 1 << 24);
    }
    config.draft_vocab = static_cast<int>(ids->cols());
  }
  const bool w = file.find_tensor(names::kConfidenceW) != nullptr;
  config.confidence = file.find_tensor(names::kConfidenceB) != nullptr;
  if (w == config.confidence) return Ok();
  return reader.error("tensor \"{}\" is there without \"{}\"", w ? names::kConfidenceW : names::kConfidenceB,
                      w ? names::kConfidenceB : names::kConfidenceW);
}

// A fused draft has no pass of its own: there is no gap between its layers, and its masks are run before the last
// token's state is known.
Status check_fused(const Reader& reader, const AdapterConfig& config) {
  if (!config.fused || (config.bridge_rank == 0 && config.state_rank == 0)) return Ok();
  return reader.error("tensor \"{}\" has no use in an adapter whose s3d.kind is \"{}\"",
                      config.bridge_rank > 0 ? names::kBridgeDown : names::kStateDown, names::kKindFused);
}

Status read_ngrams(const GgufFile& file, const Reader& reader, AdapterConfig& config) {
  constexpr int64_t kMax = 1 << 24;
  const Tensor* tokens = file.find_tensor(names::kNgramTokens);
  const Tensor* chance = file.find_tensor(names::kNgramChance);
  if (tokens == nullptr && chance == nullptr) return Ok();
  const int64_t n = tokens == nullptr ? 0 : tokens->rows();  // [3, 1] reads as [3], which has one row too
  const bool good = tokens != nullptr && chance != nullptr && tokens->type == GGML_TYPE_I32 && tokens->cols() == 3 &&
                    chance->type == GGML_TYPE_F32 && chance->shape.size() == 1 && chance->cols() == n && n <= kMax;
  if (!good) {
    return reader.error("tensors \"{}\" and \"{}\" must be there together, i32 [3, n] and f32 [n], n from 1 to {}",
                        names::kNgramTokens, names::kNgramChance, kMax);
  }
  config.ngrams = static_cast<int>(n);
  return Ok();
}

// The second step, with the base known: shapes, types and values.
class Opener {
 public:
  Opener(const GgufFile& file, const ModelConfig& base) : file_(file), reader_(file), base_(base) {}

  Status check_base(const AdapterConfig& config, uint64_t fingerprint) const {
    S3D_TRY(reader_.check_base("adapter", config.base_name, config.base_fingerprint, fingerprint));
    if (config.fused && config.layers.count() != base_.n_layers) {
      return reader_.error("s3d.kind is \"{}\", but the plan keeps {} + {} of the base's {} layers; expected all",
                           names::kKindFused, config.layers.first, config.layers.last, base_.n_layers);
    }
    if (config.layers.count() <= base_.n_layers) return Ok();
    return reader_.error("the plan keeps {} + {} layers, the base has only {}", config.layers.first, config.layers.last,
                         base_.n_layers);
  }

  // A matrix of that shape; null if it is absent.
  Result<const Tensor*> matrix(std::string_view name, int64_t rows, int64_t cols) const {
    const Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) return tensor;
    if (tensor->shape.size() > 2 || tensor->rows() != rows || tensor->cols() != cols) {
      return reader_.error("tensor \"{}\" has the shape [{}], expected [{}, {}] for this base", name,
                           fmt::join(tensor->shape, ", "), cols, rows);
    }
    if (tensor->type != GGML_TYPE_F32 && tensor->type != GGML_TYPE_F16 && tensor->type != GGML_TYPE_Q8_0) {
      return reader_.error("tensor \"{}\" has type {}, expected f32, f16 or q8_0", name, ggml_type_name(tensor->type));
    }
    S3D_TRY(reader_.check_finite(*tensor));
    return tensor;
  }

  // A low-rank pair of a matrix [rows, cols].
  Result<LowRank> pair(std::string_view a, std::string_view b, MatrixShape shape, int rank) const {
    LowRank out;
    S3D_ASSIGN(out.a, matrix(a, rank, shape.cols));
    S3D_ASSIGN(out.b, matrix(b, shape.rows, rank));
    return out;
  }

  Status lora(Adapter& out) const {
    const AdapterConfig& config = out.config;
    out.lora.resize(usize(config.layers.count()));
    std::set<std::string> read;
    for (int i = 0; i < config.layers.count(); ++i) {
      const int layer = out.config.layers.layer(i, base_.n_layers);
      for (int t = 0; t < kLoraTargets; ++t) {
        const auto target = static_cast<LoraTarget>(t);
        const std::string a = names::lora(layer, target, 'a'), b = names::lora(layer, target, 'b');
        S3D_ASSIGN(out.lora[i][t], pair(a, b, lora_target_shape(base_, target), config.lora_rank));
        read.insert({a, b});
      }
    }
    for (const Tensor& tensor : file_.tensors()) {
      if (!lora_layer(tensor.name) || read.contains(tensor.name)) continue;
      return reader_.error("tensor \"{}\" is for a layer that the plan {} + {} of {} does not keep", tensor.name,
                           config.layers.first, config.layers.last, base_.n_layers);
    }
    return Ok();
  }

  Status parts(Adapter& out) const {
    const AdapterConfig& config = out.config;
    const MatrixShape square = {base_.d_model, base_.d_model};
    const int drafted = config.draft_vocab > 0 ? config.draft_vocab : base_.vocab_size;
    S3D_ASSIGN(out.masks, matrix(names::kMasks, config.masks, base_.d_model));
    S3D_ASSIGN(out.bridge, pair(names::kBridgeDown, names::kBridgeUp, square, config.bridge_rank));
    S3D_ASSIGN(out.state, pair(names::kStateDown, names::kStateUp, square, config.state_rank));
    S3D_ASSIGN(out.markov_p, matrix(names::kMarkovP, config.markov_rank, base_.d_model));
    S3D_ASSIGN(out.markov_w2, matrix(names::kMarkovW2, drafted, config.markov_rank));
    return Ok();
  }

  Status confidence(Adapter& out) const {
    if (!out.config.confidence) return Ok();
    const auto read = [&](std::string_view name, int length) -> Result<std::vector<float>> {
      const Tensor& tensor = *file_.find_tensor(name);
      S3D_ASSIGN(std::vector<float> values, read_vector(file_, tensor, usize(length)));
      S3D_TRY(reader_.check_finite(tensor));
      return values;
    };
    S3D_ASSIGN(out.confidence_w, read(names::kConfidenceW, base_.d_model + out.config.markov_rank));
    S3D_ASSIGN(const std::vector<float> b, read(names::kConfidenceB, 1));
    out.confidence_b = b[0];
    return Ok();
  }

  Status ngrams(Adapter& out) const {
    const auto n = usize(out.config.ngrams);
    if (n == 0) return Ok();
    std::vector<int32_t> tokens(3 * n);
    std::memcpy(tokens.data(), file_.find_tensor(names::kNgramTokens)->data, tokens.size() * sizeof(int32_t));
    S3D_ASSIGN(out.ngrams.chance, read_vector(file_, *file_.find_tensor(names::kNgramChance), n));
    for (size_t i = 0; i < n; ++i) {
      const int32_t before = tokens[3 * i], last = tokens[3 * i + 1], next = tokens[3 * i + 2];
      const auto known = [&](int32_t token, int32_t least) { return token >= least && token < base_.vocab_size; };
      const float chance = out.ngrams.chance[i];
      if (!known(before, -1) || !known(last, 0) || !known(next, 0) || !(chance >= 0 && chance <= 1)) {
        return reader_.error(
            "entry {} of the n-grams is {} {} -> {} with chance {}: expected tokens of the base's {} "
            "(-1 for any first one) and a chance from 0 to 1",
            i, before, last, next, chance, base_.vocab_size);
      }
      out.ngrams.before.push_back(before);
      out.ngrams.last.push_back(last);
      out.ngrams.next.push_back(next);
    }
    return Ok();
  }

 private:
  const GgufFile& file_;
  Reader reader_;
  const ModelConfig& base_;
};

}  // namespace

std::string_view lora_target_name(LoraTarget target) {
  constexpr std::string_view kNames[kLoraTargets] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                     "ffn_gate", "ffn_up", "ffn_down"};
  return kNames[usize(target)];
}

MatrixShape lora_target_shape(const ModelConfig& base, LoraTarget target) {
  switch (target) {
    case LoraTarget::kQ:
      return {base.q_dim(), base.d_model};
    case LoraTarget::kK:
    case LoraTarget::kV:
      return {base.kv_dim(), base.d_model};
    case LoraTarget::kOutput:
      return {base.d_model, base.q_dim()};
    case LoraTarget::kGate:
    case LoraTarget::kUp:
      return {base.d_ff, base.d_model};
    case LoraTarget::kDown:
      return {base.d_model, base.d_ff};
  }
  S3D_CHECK(false, "a LoraTarget that does not exist");
}

bool is_trained(std::string_view tensor_name) {
  return tensor_name != names::kDraftIds && tensor_name != names::kNgramTokens && tensor_name != names::kNgramChance;
}

std::string adapter_names::lora(int layer, LoraTarget target, char part) {
  return fmt::format("blk.{}.{}.lora_{}", layer, lora_target_name(target), part);
}

Result<AdapterConfig> read_adapter_config(const GgufFile& file) {
  const Reader reader(file);
  AdapterConfig config;
  S3D_TRY(check_adapter(file, reader));
  S3D_TRY(read_plan(file, reader, config));
  S3D_TRY(read_lora(file, reader, config));
  S3D_TRY(read_heads(file, reader, config));
  S3D_TRY(check_fused(reader, config));
  S3D_TRY(read_ngrams(file, reader, config));
  return config;
}

Result<Adapter> open_adapter(std::shared_ptr<const GgufFile> file, const ModelConfig& base, uint64_t base_fingerprint) {
  Adapter adapter;
  S3D_ASSIGN(adapter.config, read_adapter_config(*file));
  const Opener opener(*file, base);
  S3D_TRY(opener.check_base(adapter.config, base_fingerprint));
  S3D_TRY(opener.lora(adapter));
  S3D_TRY(opener.parts(adapter));
  S3D_ASSIGN(adapter.draft_ids, Reader(*file).draft_ids(base.vocab_size));
  S3D_TRY(opener.confidence(adapter));
  S3D_TRY(opener.ngrams(adapter));
  adapter.file = std::move(file);
  return adapter;
}

}  // namespace s3d
