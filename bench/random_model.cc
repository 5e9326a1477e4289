#include "random_model.h"

#include <fmt/format.h>
#include <gguf.h>

#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/index.h"
#include "base/splitmix64.h"

namespace s3d {
namespace {

// Halves of a block that are scales: their number, and where the first one lies.
struct Scales {
  size_t count, at;
};
Scales scales_of(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q4_K:
    case GGML_TYPE_Q5_K:
      return {2, 0};
    case GGML_TYPE_Q6_K:
      return {1, ggml_type_size(type) - 2};
    default:
      return {1, 0};
  }
}

class Writer {
 public:
  explicit Writer(const RandomShape& shape) : shape_(shape) {}

  std::vector<std::byte> image() {
    metadata();
    const int d = shape_.d_model, q = shape_.heads * shape_.head_dim, kv = shape_.kv_heads * shape_.head_dim;
    add("token_embd.weight", shape_.head_type, d, shape_.vocab);
    norm("output_norm.weight");
    for (int layer = 0; layer < shape_.layers; ++layer) {
      const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", layer, part); };
      norm(name("attn_norm"));
      add(name("attn_q"), shape_.type, d, q);
      add(name("attn_k"), shape_.type, d, kv);
      add(name("attn_v"), shape_.type, d, kv);
      add(name("attn_output"), shape_.type, q, d);
      norm(name("ffn_norm"));
      add(name("ffn_gate"), shape_.type, d, shape_.d_ff);
      add(name("ffn_up"), shape_.type, d, shape_.d_ff);
      add(name("ffn_down"), shape_.type, shape_.d_ff, d);
    }
    return assemble();
  }

 private:
  struct FreeGguf {
    void operator()(gguf_context* gguf) const { gguf_free(gguf); }
  };
  struct FreeGgml {
    void operator()(ggml_context* context) const { ggml_free(context); }
  };

  void key(const char* name, int value) {
    gguf_set_val_u32(gguf_.get(), fmt::format("llama.{}", name).c_str(), static_cast<uint32_t>(value));
  }
  void metadata() {
    gguf_set_val_str(gguf_.get(), "general.architecture", "llama");
    gguf_set_val_str(gguf_.get(), "general.name", shape_.name.c_str());
    gguf_set_val_str(gguf_.get(), "tokenizer.ggml.model", "no_vocab");  // llama.cpp wants to be told
    key("vocab_size", shape_.vocab);
    key("context_length", 8192);
    key("embedding_length", shape_.d_model);
    key("block_count", shape_.layers);
    key("feed_forward_length", shape_.d_ff);
    key("attention.head_count", shape_.heads);
    key("attention.head_count_kv", shape_.kv_heads);
    key("attention.key_length", shape_.head_dim);
    key("attention.value_length", shape_.head_dim);
    gguf_set_val_f32(gguf_.get(), "llama.attention.layer_norm_rms_epsilon", 1e-6F);
    gguf_set_val_f32(gguf_.get(), "llama.rope.freq_base", 1e6F);
  }

  void add(const std::string& name, ggml_type type, int cols, int rows) {
    ggml_tensor* tensor = ggml_new_tensor_2d(ggml_.get(), type, cols, rows);
    ggml_set_name(tensor, name.c_str());
    gguf_add_tensor(gguf_.get(), tensor);
    std::vector<std::byte> bytes(ggml_nbytes(tensor));
    fill_random_blocks(type, bytes, ++seed_);
    data_.push_back(std::move(bytes));
  }
  void norm(const std::string& name) {
    ggml_tensor* tensor = ggml_new_tensor_1d(ggml_.get(), GGML_TYPE_F32, shape_.d_model);
    ggml_set_name(tensor, name.c_str());
    gguf_add_tensor(gguf_.get(), tensor);
    const std::vector<float> ones(usize(shape_.d_model), 1.0F);
    data_.emplace_back(ones.size() * sizeof(float));
    std::memcpy(data_.back().data(), ones.data(), data_.back().size());
  }

  std::vector<std::byte> assemble() const {
    const size_t header = gguf_get_meta_size(gguf_.get());
    const int64_t last = gguf_get_n_tensors(gguf_.get()) - 1;
    std::vector<std::byte> out(header + gguf_get_tensor_offset(gguf_.get(), last) +
                               (data_.back().size() + 31) / 32 * 32);
    gguf_get_meta_data(gguf_.get(), out.data());
    for (int64_t i = 0; i <= last; ++i) {
      const std::vector<std::byte>& bytes = data_[usize(i)];
      std::memcpy(out.data() + header + gguf_get_tensor_offset(gguf_.get(), i), bytes.data(), bytes.size());
    }
    return out;
  }

  const RandomShape& shape_;
  std::unique_ptr<gguf_context, FreeGguf> gguf_{gguf_init_empty()};
  std::unique_ptr<ggml_context, FreeGgml> ggml_{ggml_init({.mem_size = size_t{4} << 20, .no_alloc = true})};
  std::vector<std::vector<std::byte>> data_;
  uint64_t seed_ = 0;
};

}  // namespace

RandomShape shape_1_5b() {
  return {"random 1.5B", 28, 1536, 8960, 12, 2, 128, 151936, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K};
}
RandomShape shape_7b() {
  return {"random 7B", 28, 3584, 18944, 28, 4, 128, 152064, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K};
}
RandomShape shape_small() {
  return {"random small", 2, 256, 512, 4, 2, 64, 300, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K};
}

void fill_random_blocks(ggml_type type, std::vector<std::byte>& bytes, uint64_t seed) {
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    const uint64_t word = splitmix64(seed * 0x9e3779b97f4a7c15U + i);
    std::memcpy(&bytes[i], &word, 8);
  }
  // Values of about a hundredth: a row of a few thousand then keeps the length of what it multiplies.
  const ggml_fp16_t scale = ggml_fp32_to_fp16(ggml_blck_size(type) == 256 ? 3e-5F : 1e-3F);
  const Scales scales = scales_of(type);
  for (size_t at = 0; at < bytes.size(); at += ggml_type_size(type)) {
    for (size_t i = 0; i < scales.count; ++i) std::memcpy(&bytes[at + scales.at + 2 * i], &scale, 2);
  }
}

std::vector<std::byte> random_model_image(const RandomShape& shape) {
  return Writer(shape).image();
}

}  // namespace s3d
