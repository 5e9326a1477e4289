// Small GGUF models of each family, right or with one thing wrong, for the tests of this folder.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "file/gguf.h"
#include "file/gguf_test_writer.h"

namespace s3d {

// Sizes of the test models. d_model / n_heads is not head_dim on purpose.
struct TestModelSizes {
  int layers = 2;
  int d = 24;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 8;
  int ff = 40;
  int vocab = 20;
};

// What a test changes before the file is written: each tensor passes here (return false to leave it out).
using TensorHook = std::function<bool(std::string& name, std::vector<uint64_t>& shape)>;

class TestModelFile {
 public:
  explicit TestModelFile(std::string family, TestModelSizes sizes = {}) : family_(std::move(family)), sizes_(sizes) {}

  // Skips the usual value of a key (given without the family), so that a test can write its own or none.
  TestModelFile& without(std::string key) {
    skipped_.push_back(std::move(key));
    return *this;
  }
  // Writes further metadata or tensors.
  TestModelFile& with(std::function<void(GgufTestWriter&)> more) {
    more_.push_back(std::move(more));
    return *this;
  }
  TestModelFile& hook(TensorHook hook) {
    hook_ = std::move(hook);
    return *this;
  }

  std::vector<std::byte> image() const {
    GgufTestWriter writer;
    writer.key_string("general.architecture", family_);
    writer.key_string("general.name", "test model");
    write_sizes(writer);
    write_tensors(writer);
    for (const auto& more : more_) more(writer);
    return writer.image();
  }
  GgufFile open() const { return std::move(GgufFile::from_bytes(image(), "test.gguf")).value(); }

 private:
  void write_sizes(GgufTestWriter& writer) const {
    const std::pair<const char*, int> numbers[] = {{"block_count", sizes_.layers},
                                                   {"context_length", 128},
                                                   {"embedding_length", sizes_.d},
                                                   {"feed_forward_length", sizes_.ff},
                                                   {"attention.head_count", sizes_.heads},
                                                   {"attention.head_count_kv", sizes_.kv_heads},
                                                   {"attention.key_length", sizes_.head_dim},
                                                   {"attention.value_length", sizes_.head_dim}};
    for (const auto& [key, value] : numbers) {
      if (keeps(key)) writer.key_u32(family_ + "." + key, static_cast<uint32_t>(value));
    }
    const char* eps = "attention.layer_norm_rms_epsilon";
    if (keeps(eps)) writer.key_f32(family_ + "." + eps, 1e-5f);
  }

  bool keeps(const std::string& key) const {
    for (const std::string& skipped : skipped_) {
      if (skipped == key) return false;
    }
    return true;
  }

  void tensor(GgufTestWriter& writer, std::string name, std::vector<uint64_t> shape) const {
    if (hook_ && !hook_(name, shape)) return;
    size_t count = 1;
    for (const uint64_t extent : shape) count *= extent;
    std::vector<float> values(count);
    // Different for each tensor and element.
    for (size_t i = 0; i < count; ++i) {
      values[i] = std::sin(static_cast<float>(i) + 100.0f * static_cast<float>(writer.n_tensors));
    }
    writer.tensor_f32(name, shape, values);
  }

  void write_tensors(GgufTestWriter& writer) const {
    const auto d = static_cast<uint64_t>(sizes_.d);
    tensor(writer, "token_embd.weight", {d, static_cast<uint64_t>(sizes_.vocab)});
    for (int layer = 0; layer < sizes_.layers; ++layer) write_layer(writer, fmt::format("blk.{}.", layer));
    tensor(writer, "output_norm.weight", {d});
    if (family_ != "gemma3") tensor(writer, "output.weight", {d, static_cast<uint64_t>(sizes_.vocab)});
  }

  void write_layer(GgufTestWriter& writer, const std::string& prefix) const {
    const auto d = static_cast<uint64_t>(sizes_.d);
    const auto q = static_cast<uint64_t>(sizes_.heads * sizes_.head_dim);
    const auto kv = static_cast<uint64_t>(sizes_.kv_heads * sizes_.head_dim);
    const auto ff = static_cast<uint64_t>(sizes_.ff);
    const auto head = static_cast<uint64_t>(sizes_.head_dim);
    const bool phi3 = family_ == "phi3", olmo2 = family_ == "olmo2";
    std::vector<std::pair<const char*, std::vector<uint64_t>>> list;
    if (!olmo2) list.push_back({"attn_norm.weight", {d}});
    if (phi3) list.push_back({"attn_qkv.weight", {d, q + 2 * kv}});
    if (!phi3)
      list.insert(list.end(), {{"attn_q.weight", {d, q}}, {"attn_k.weight", {d, kv}}, {"attn_v.weight", {d, kv}}});
    if (family_ == "qwen2")
      list.insert(list.end(), {{"attn_q.bias", {q}}, {"attn_k.bias", {kv}}, {"attn_v.bias", {kv}}});
    if (family_ == "qwen3" || family_ == "gemma3") {
      list.insert(list.end(), {{"attn_q_norm.weight", {head}}, {"attn_k_norm.weight", {head}}});
    }
    if (olmo2) list.insert(list.end(), {{"attn_q_norm.weight", {q}}, {"attn_k_norm.weight", {kv}}});
    list.push_back({"attn_output.weight", {q, d}});
    if (!olmo2) list.push_back({"ffn_norm.weight", {d}});
    if (!phi3) list.push_back({"ffn_gate.weight", {d, ff}});
    list.push_back({"ffn_up.weight", {d, phi3 ? 2 * ff : ff}});
    list.push_back({"ffn_down.weight", {ff, d}});
    if (family_ == "gemma3" || family_ == "gemma2" || olmo2) {
      list.insert(list.end(), {{"post_attention_norm.weight", {d}}, {"post_ffw_norm.weight", {d}}});
    }
    for (const auto& [name, shape] : list) tensor(writer, prefix + name, shape);
  }

  std::string family_;
  TestModelSizes sizes_;
  std::vector<std::string> skipped_;
  std::vector<std::function<void(GgufTestWriter&)>> more_;
  TensorHook hook_;
};

}  // namespace s3d
