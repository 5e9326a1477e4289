// Files of EAGLE and Medusa drafters with random numbers, for tests on small models.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/index.h"
#include "model/drafter_file.h"
#include "model/weights.h"

namespace s3d::drafter_test {

inline constexpr uint64_t kFingerprint = 7;

struct EagleParts {
  std::vector<int> taps = {};
  std::vector<TokenId> draft_ids = {};
  ggml_type type = GGML_TYPE_F32;
  bool echo = false;  // the layer adds nothing, and its input is the feature: it guesses that every token comes twice
  uint64_t fingerprint = kFingerprint;
};

struct MedusaParts {
  int heads = 3;
  int rank = 0;
  std::vector<TokenId> draft_ids = {};
  ggml_type type = GGML_TYPE_F32;
  bool echo = false;  // all heads say what the base said last
  uint64_t fingerprint = kFingerprint;
};

class Tensors {
 public:
  explicit Tensors(unsigned seed) : random_(seed) {}

  void add(const std::string& name, std::vector<int64_t> shape, float mean, float deviation) {
    std::normal_distribution<float> normal(mean, deviation);
    AdapterTensor tensor = {name, shape, {}};
    tensor.values.resize(usize(shape[0] * (shape.size() > 1 ? shape[1] : 1)));
    if (deviation > 0) {
      for (float& value : tensor.values) value = normal(random_);
    } else {
      std::fill(tensor.values.begin(), tensor.values.end(), mean);
    }
    all.push_back(std::move(tensor));
  }
  void add_matrix(const std::string& name, int64_t cols, int64_t rows) {
    add(name, {cols, rows}, 0, 1.3F / std::sqrt(static_cast<float>(cols)));
  }

  std::vector<AdapterTensor> all;

 private:
  std::mt19937 random_;
};

inline std::vector<std::byte> eagle_image(const ModelConfig& base, const EagleParts& parts, unsigned seed = 1) {
  const int64_t d = base.d_model;
  Tensors tensors(seed);
  tensors.add_matrix(std::string(draft_file_names::kEagleFc), 2 * d, d);
  if (parts.echo) {
    std::vector<float>& fc = tensors.all.back().values;
    std::fill(fc.begin(), fc.end(), 0.0F);
    for (int64_t i = 0; i < d; ++i) fc[usize(i * 2 * d + d + i)] = 1;
  }
  if (!parts.taps.empty()) tensors.add_matrix(std::string(draft_file_names::kEagleTap), d * isize(parts.taps), d);
  for (const LayerTensor& spec : side_layer_tensors(base)) {
    const bool quiet = parts.echo && (spec.name.ends_with("attn_output.weight") || spec.name.ends_with("down.weight"));
    if (spec.shape.size() == 1) {
      tensors.add(spec.name, spec.shape, spec.name.ends_with(".bias") ? 0.0F : 1.0F, 0.1F);
    } else if (quiet) {
      tensors.add(spec.name, spec.shape, 0, 0);
    } else {
      tensors.add_matrix(spec.name, spec.shape[0], spec.shape[1]);
    }
  }
  const DrafterMetadata metadata = {
      .header = {.kind = "eagle", .base_fingerprint = parts.fingerprint, .base_name = "tiny"}, .taps = parts.taps};
  return drafter_image(metadata, tensors.all, parts.draft_ids, parts.type).value();
}

inline std::vector<std::byte> medusa_image(const ModelConfig& base, const MedusaParts& parts, unsigned seed = 1) {
  const int64_t d = base.d_model, n = parts.draft_ids.empty() ? base.vocab_size : isize(parts.draft_ids);
  Tensors tensors(seed);
  for (int k = 0; k < parts.heads; ++k) {
    const float deviation = parts.echo ? 0 : 1.3F / std::sqrt(static_cast<float>(d));
    tensors.add(draft_file_names::medusa(k, "weight"), {d, d}, 0, deviation);
    tensors.add(draft_file_names::medusa(k, "bias"), {d}, 0, parts.echo ? 0 : 0.3F);
    if (parts.rank == 0) continue;
    tensors.add_matrix(draft_file_names::medusa(k, "head_a"), d, parts.rank);
    tensors.add_matrix(draft_file_names::medusa(k, "head_b"), parts.rank, n);
  }
  const DrafterMetadata metadata = {
      .header = {.kind = "medusa", .base_fingerprint = parts.fingerprint, .base_name = "tiny"}, .heads = parts.heads};
  return drafter_image(metadata, tensors.all, parts.draft_ids, parts.type).value();
}

inline std::shared_ptr<const GgufFile> as_file(std::vector<std::byte> image) {
  return std::make_shared<const GgufFile>(std::move(GgufFile::from_bytes(std::move(image), "drafter.gguf")).value());
}

// Tokens that can be drafted: neither a multiple of 16 nor in order.
inline std::vector<TokenId> some_draft_ids(int vocab) {
  std::vector<TokenId> ids;
  for (int i = 1; i <= 37; ++i) ids.push_back(vocab - 2 * i);
  return ids;
}

}  // namespace s3d::drafter_test
