// What the trainer's tests share: a tiny base, a tiny dataset, comparisons.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tiny_model.h"
#include "train/base_model.h"
#include "train/dataset.h"
#include "train/draft_block.h"
#include "train/keyed_random.h"
#include "train/recipe.h"
#include "train/record_store.h"

namespace s3d::train {

inline BaseModel tiny_base(std::string_view family, int context = 64) {
  auto base = load_base(write_tiny_model({.family = family}), torch::kFloat32, torch::kCPU, context);
  if (!base.ok()) throw std::runtime_error(base.error().message);
  return std::move(*base);
}

inline std::vector<int32_t> random_tokens(int count, int vocab, uint64_t seed) {
  std::vector<int32_t> out;
  for (int i = 0; i < count; ++i) {
    out.push_back(static_cast<int32_t>(keyed(seed, i) % static_cast<uint64_t>(vocab)));
  }
  return out;
}

inline Dataset random_dataset(int sequences, int prompt, int answer, int vocab, uint64_t seed = 1) {
  Dataset data;
  for (int s = 0; s < sequences; ++s) {
    data.sequences.push_back({random_tokens(prompt + answer + s % 3, vocab, keyed(seed, s)), prompt});
  }
  data.hash = seed;
  return data;
}

// As read_dataset reads it.
inline void write_dataset(const std::string& path, const Dataset& data) {
  std::ofstream out(path);
  for (const Sequence& s : data.sequences) {
    const auto middle = s.tokens.begin() + s.prompt_length;
    out << nlohmann::json({{"prompt_tokens", std::vector<int>(s.tokens.begin(), middle)},
                           {"answer_tokens", std::vector<int>(middle, s.tokens.end())}})
        << "\n";
  }
}

inline Tensor longs(const std::vector<int32_t>& values) {
  return torch::tensor(std::vector<int64_t>(values.begin(), values.end()));
}

// |a - b| / |b|
inline double relative_error(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

// Gives every tensor of a drafter values of about `size` more, so that no part is without effect.
inline void randomize(NamedTensors& tensors, double size, uint64_t seed) {
  const torch::NoGradGuard no_grad;
  for (NamedTensor& named : tensors) {
    Tensor& value = named.value;
    for (int64_t i = 0; i < value.numel(); ++i) {
      value.view({-1})[i] = value.view({-1})[i] + size * normal(keyed(seed, key_of(named.name), i));
    }
  }
}

inline void randomize(DraftParams& params, double size, uint64_t seed) {
  randomize(params.tensors, size, seed);
}

// The slope of loss() along the gradient of `value`, which is its norm, the largest there is: the least noise in float.
template <typename Loss>
void expect_gradient(const Loss& loss, Tensor value, const std::string& name) {
  const Tensor gradient = value.grad().clone();
  const double expected = gradient.norm().template item<double>();
  ASSERT_GT(expected, 0) << name;
  const torch::NoGradGuard no_grad;
  const Tensor direction = gradient / expected;
  const double h = std::min(2e-2, 0.05 / expected);  // a step that changes the loss by 0.1
  value.add_(direction, h);
  const double above = loss();
  value.add_(direction, -2 * h);
  const double below = loss();
  value.add_(direction, h);
  EXPECT_NEAR((above - below) / (2 * h), expected, 0.02 * expected + 2e-3) << name;
}

// What the test of a drafter begins with: a tiny base, texts with the base's states, a recipe without sampled rows.
struct DrafterSetting {
  DrafterSetting(std::string_view family, RecordStates states, Recipe to_train)
      : base(tiny_base(family)),
        data(random_dataset(3, 4, 12, base.config.vocab_size)),
        records(RecordStore::build(base, data, {.states = states, .soft_targets = 8}).value()),
        recipe(std::move(to_train)) {
    recipe.loss.sample_rows = false;
  }

  // rms(h) of that position.
  Tensor state(int sequence, int position) const {
    return records.state(std::vector<int>{sequence}, torch::tensor({{position + 1}}))[0][0];
  }

  BaseModel base;
  Dataset data;
  RecordStore records;
  Recipe recipe;
};

inline void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace s3d::train
