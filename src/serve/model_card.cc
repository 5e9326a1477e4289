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

}  // namespace

SamplerOptions file_sampler(const GgufFile& file, SamplerOptions sampler) {
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

Result<ModelCard> read_model_card(const std::string& path, const std::string& id, const SamplerOptions& defaults) {
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  return make_model_card(file, id, defaults);
}

Result<ModelCard> make_model_card(const GgufFile& file, const std::string& id, const SamplerOptions& defaults) {
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
  card.sampler = file_sampler(file, defaults);
  return card;
}

}  // namespace s3d::serve
