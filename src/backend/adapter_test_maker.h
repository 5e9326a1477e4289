// Adapters of random numbers on the tiny models of tests/data/models, for tests of passes with them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backend/packed_adapter.h"
#include "base/index.h"
#include "model/adapter.h"

namespace s3d::adapter_test {

using Floats = std::vector<float>;
using Tokens = std::vector<int32_t>;

inline constexpr int kMasks = 3;
inline constexpr int kRank = 32;
inline constexpr int kContext = 12;  // longer than the tiny models' windows
inline constexpr uint64_t kFingerprint = 7;

// The optional parts of an adapter.
struct Parts {
  bool lora = true;
  bool some_pairs_only = false;  // no pair for k, gate and the last layer's output
  bool state = true, first_row = true;
  bool bridge = true;
  bool draft_vocab = true;
  bool markov = true;
  bool fused = false;  // masks for full passes
};

inline constexpr Parts kAll = {};
inline constexpr Parts kNone = {.lora = false, .state = false, .bridge = false, .draft_vocab = false, .markov = false};

// A tiny model, of the source tree or, where the test has been carried away from it (scripts/gpu-check), of the folder
// that S3D_TEST_MODELS names.
inline std::shared_ptr<const GgufFile> open_base(const std::string& name) {
  const char* carried = std::getenv("S3D_TEST_MODELS");
  const std::string folder = carried != nullptr ? carried : S3D_SOURCE_DIR "/tests/data/models";
  return std::make_shared<const GgufFile>(std::move(GgufFile::open(folder + "/" + name + ".gguf")).value());
}

class AdapterMaker {
 public:
  AdapterMaker(const ModelConfig& base, LayerSet plan, unsigned seed) : base_(base), layers_(plan), random_(seed) {}

  Adapter make(const Parts& parts, ggml_type type) {
    namespace names = adapter_names;
    const int d = base_.d_model;
    if (parts.lora) add_lora(parts.some_pairs_only);
    add(names::kMasks, d, kMasks, 1);
    if (parts.state) add_pair(std::string(names::kStateDown), std::string(names::kStateUp), d, d);
    if (parts.bridge) add_pair(std::string(names::kBridgeDown), std::string(names::kBridgeUp), d, d);
    Tokens ids;  // not a multiple of 16, nor in order
    for (int i = 1; parts.draft_vocab && i <= 37; ++i) ids.push_back(base_.vocab_size - 2 * i);
    const int draft_size = parts.draft_vocab ? isize(ids) : base_.vocab_size;
    if (parts.markov) add_pair(std::string(names::kMarkovP), std::string(names::kMarkovW2), d, draft_size);
    const AdapterConfig config = {.base_fingerprint = kFingerprint,
                                  .layers = layers_,
                                  .masks = kMasks,
                                  .fused = parts.fused,
                                  .state_on_first_row = parts.first_row};
    auto image = adapter_image(config, tensors_, ids, type).value();
    auto file = std::make_shared<const GgufFile>(std::move(GgufFile::from_bytes(std::move(image), "adapter")).value());
    return open_adapter(file, base_, kFingerprint).value();
  }

 private:
  void add(std::string_view name, int cols, int rows, float deviation) {
    std::normal_distribution<float> normal(0, deviation);
    AdapterTensor tensor = {std::string(name), {cols, rows}, Floats(usize(cols) * rows)};
    for (float& value : tensor.values) value = normal(random_);
    tensors_.push_back(std::move(tensor));
  }
  void add_pair(const std::string& down, const std::string& up, int in, int out) {
    add(down, in, kRank, 1 / std::sqrt(static_cast<float>(in)));
    add(up, kRank, out, 0.5F / std::sqrt(static_cast<float>(kRank)));
  }
  void add_lora(bool some_only) {
    for (int i = 0; i < layers_.count(); ++i) {
      const int layer = i < layers_.first ? i : base_.n_layers - layers_.first - layers_.last + i;
      for (int t = 0; t < kLoraTargets; ++t) {
        const auto target = static_cast<LoraTarget>(t);
        const bool last_output = target == LoraTarget::kOutput && i == layers_.count() - 1;
        if (some_only && (target == LoraTarget::kK || target == LoraTarget::kGate || last_output)) continue;
        const MatrixShape shape = lora_target_shape(base_, target);
        add_pair(adapter_names::lora(layer, target, 'a'), adapter_names::lora(layer, target, 'b'), shape.cols,
                 shape.rows);
      }
    }
  }

  const ModelConfig& base_;
  LayerSet layers_;
  std::mt19937 random_;
  std::vector<AdapterTensor> tensors_;
};

// A base with a random adapter.
struct Drafted {
  Drafted(const std::string& name, LayerSet layers, const Parts& parts, ggml_type type, unsigned seed = 1)
      : plan(layers), file(open_base(name)), config(read_model_config(*file).value()) {
    adapter = AdapterMaker(config, plan, seed).make(parts, type);
    ThreadPool pool(2);
    const Tokens head_first = parts.fused ? Tokens() : adapter.draft_ids;
    model = std::make_shared<const Model>(load_model(file, config, pool, {}, head_first).value());
    packed = PackedAdapter::create(adapter, *model, &pool).value();
  }
  LayerSet plan;
  std::shared_ptr<const GgufFile> file;
  ModelConfig config;
  Adapter adapter;
  std::shared_ptr<const Model> model;
  std::shared_ptr<const PackedAdapter> packed;
};

inline Tokens some_tokens(int n, int vocab, unsigned seed) {
  std::mt19937 random(seed);
  Tokens tokens(usize(n));
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<unsigned>(vocab));
  return tokens;
}

}  // namespace s3d::adapter_test
