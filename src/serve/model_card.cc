#include "serve/model_card.h"

#include <fmt/format.h>
#include <ggml.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <map>
#include <string_view>

#include "model/config.h"
#include "model/fingerprint.h"

namespace s3d::serve {
namespace {

// The type that holds most bytes of the file.
std::string main_type(const GgufFile& file) {
  std::map<ggml_type, size_t> bytes;
  for (const Tensor& tensor : file.tensors()) bytes[tensor.type] += tensor.bytes;
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  std::string name = most == bytes.end() ? "" : ggml_type_name(most->first);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  return name;
}

int64_t parameters(const GgufFile& file) {
  int64_t count = 0;
  for (const Tensor& tensor : file.tensors()) count += tensor.rows() * tensor.cols();
  return count;
}

std::string text_value(const GgufFile& file, std::string_view key) {
  const auto value = file.string(key);
  return value.ok() && *value ? std::string(**value) : std::string();
}

// Stands for the file without reading it all: its fingerprint, size and time. 64 digits, as clients expect.
std::string digest_of(uint64_t fingerprint, const struct stat& info) {
  return fmt::format("{0}{1:016x}{2:016x}{0}", fingerprint_text(fingerprint), static_cast<uint64_t>(info.st_size),
                     static_cast<uint64_t>(info.st_mtime));
}

// How the file says that embeddings are made. The numbers are llama.cpp's.
void read_pooling(const GgufFile& file, ModelCard& card) {
  const std::string key = card.family + ".pooling_type";
  const auto kind = file.integer(key);
  const int64_t number = kind.ok() ? kind->value_or(0) : 0;
  const auto causal = file.boolean(card.family + ".attention.causal");
  constexpr int64_t kMean = 1, kLast = 3;
  if (number == 0) {
    card.no_pooling = fmt::format(
        "the model's file names no pooling ({}), as it was made for writing text; use a model for embeddings, such as "
        "Qwen3-Embedding",
        key);
  } else if (causal.ok() && !causal->value_or(true)) {
    card.no_pooling = "the model's attention looks both ways, which this program does not run";
  } else if (number != kMean && number != kLast) {
    card.no_pooling = fmt::format(
        "the model's file names the pooling {} ({}); supported are 1, the mean, and 3, the last token", number, key);
  } else {
    card.pooling = number == kMean ? Pooling::kMean : Pooling::kLast;
  }
}

}  // namespace

SamplerOptions AnswerDefaults::over(SamplerOptions sampler) const {
  sampler.temperature = temperature.value_or(sampler.temperature);
  sampler.top_k = top_k.value_or(sampler.top_k);
  sampler.top_p = top_p.value_or(sampler.top_p);
  sampler.min_p = min_p.value_or(sampler.min_p);
  sampler.repetition_penalty = repetition_penalty.value_or(sampler.repetition_penalty);
  sampler.presence_penalty = presence_penalty.value_or(sampler.presence_penalty);
  sampler.frequency_penalty = frequency_penalty.value_or(sampler.frequency_penalty);
  sampler.penalty_last_n = penalty_last_n.value_or(sampler.penalty_last_n);
  return sampler;
}

SamplerOptions file_sampler(const GgufFile& file) {
  SamplerOptions sampler;
  const auto real = [&](std::string_view key, float& value) {
    const auto found = file.real(key);
    if (!found.ok() || !*found) return;
    const float before = value;
    value = static_cast<float>(**found);
    if (!sampler.check(std::numeric_limits<int>::max()).ok()) value = before;
  };
  const auto integer = [&](std::string_view key, int& value) {
    const auto found = file.integer(key);
    if (!found.ok() || !*found) return;
    const int before = value;
    value = static_cast<int>(std::clamp<int64_t>(**found, -1, std::numeric_limits<int>::max()));
    if (!sampler.check(std::numeric_limits<int>::max()).ok()) value = before;
  };
  real("general.sampling.temp", sampler.temperature);
  real("general.sampling.top_p", sampler.top_p);
  real("general.sampling.min_p", sampler.min_p);
  real("general.sampling.penalty_repeat", sampler.repetition_penalty);
  integer("general.sampling.top_k", sampler.top_k);
  integer("general.sampling.penalty_last_n", sampler.penalty_last_n);
  return sampler;
}

Result<ModelCard> read_model_card(const std::string& path, const std::string& id, const AnswerDefaults& defaults) {
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  return make_model_card(file, id, defaults);
}

Result<ModelCard> make_model_card(const GgufFile& file, const std::string& id, const AnswerDefaults& defaults) {
  S3D_ASSIGN(const ModelConfig config, read_model_config(file));
  struct stat info = {};
  ::stat(file.path().c_str(), &info);  // fails for an image in memory: zeros then
  const uint64_t fingerprint = base_fingerprint(file);
  ModelCard card;
  card.id = id;
  card.path = file.path();
  card.title = config.name;
  card.family = config.family;
  card.quantization = main_type(file);
  card.digest = digest_of(fingerprint, info);
  card.fingerprint = "fp_" + fingerprint_text(fingerprint);
  card.parameters = parameters(file);
  card.file_bytes = static_cast<int64_t>(file.file_bytes());
  card.modified = info.st_mtime;
  card.context = config.context_length;
  card.trained_context = config.context_length;
  card.vocab_size = config.vocab_size;
  card.width = config.d_model;
  card.layers = config.n_layers;
  card.chat_template = text_value(file, "tokenizer.chat_template");
  card.sampler = defaults.over(file_sampler(file));
  card.seed = defaults.seed;
  card.max_tokens = defaults.max_tokens;
  read_pooling(file, card);
  return card;
}

}  // namespace s3d::serve
