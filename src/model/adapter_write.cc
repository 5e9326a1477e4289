// Writing adapters and other drafters' files: the other half of adapter.h and drafter_file.h.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gguf.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/index.h"
#include "model/adapter.h"
#include "model/drafter_file.h"
#include "model/fingerprint.h"
#include "model/tensor_floats.h"

namespace s3d {
namespace {

namespace names = adapter_names;

struct FreeGguf {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
struct FreeGgml {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
using GgufPtr = std::unique_ptr<gguf_context, FreeGguf>;
using GgmlPtr = std::unique_ptr<ggml_context, FreeGgml>;

void set_header(gguf_context* file, uint64_t base_fingerprint, const std::string& base_name) {
  gguf_set_val_str(file, "general.architecture", std::string(names::kArchitecture).c_str());
  gguf_set_val_str(file, "general.type", "adapter");
  gguf_set_val_u32(file, "s3d.version", names::kVersion);
  gguf_set_val_str(file, "s3d.base.fingerprint", fingerprint_text(base_fingerprint).c_str());
  if (!base_name.empty()) gguf_set_val_str(file, "s3d.base.name", base_name.c_str());
}

void set_training(gguf_context* file, const TrainingCost& cost) {
  if (cost.anchors <= 0) return;
  gguf_set_val_f32(file, "s3d.training.core_seconds", static_cast<float>(cost.core_seconds));
  gguf_set_val_u64(file, "s3d.training.anchors", static_cast<uint64_t>(cost.anchors));
  gguf_set_val_u64(file, "s3d.training.tokens", static_cast<uint64_t>(cost.tokens));
  if (!cost.device.empty()) gguf_set_val_str(file, "s3d.training.device", cost.device.c_str());
}

void set_metadata(gguf_context* file, const AdapterConfig& config) {
  set_header(file, config.base_fingerprint, config.base_name);
  gguf_set_val_u32(file, "s3d.plan.head", static_cast<uint32_t>(config.layers.first));
  gguf_set_val_u32(file, "s3d.plan.tail", static_cast<uint32_t>(config.layers.last));
  gguf_set_val_u32(file, "s3d.plan.masks", static_cast<uint32_t>(config.masks));
  if (config.fused) gguf_set_val_str(file, "s3d.kind", std::string(names::kKindFused).c_str());
  if (config.state_on_first_row) gguf_set_val_bool(file, "s3d.state.first_row", true);
}

// Small vectors stay floats; so does nothing else.
ggml_type stored_type(const AdapterTensor& tensor, ggml_type wanted) {
  if (tensor.shape.size() < 2) return GGML_TYPE_F32;
  if (tensor.shape[0] % ggml_blck_size(wanted) != 0) return GGML_TYPE_F16;
  return wanted;
}

// The encoded bytes of one tensor, and its entry in the file's list.
struct Entry {
  ggml_tensor* info;
  std::vector<std::byte> bytes;
};

class Image {
 public:
  explicit Image(size_t n_tensors)
      : file_(gguf_init_empty()),
        infos_(ggml_init({ggml_tensor_overhead() * (n_tensors + 1), nullptr, /*no_alloc=*/true})) {}

  gguf_context* file() { return file_.get(); }

  void add(const std::string& name, ggml_type type, const std::vector<int64_t>& shape, std::vector<std::byte> bytes) {
    ggml_tensor* info = ggml_new_tensor(infos_.get(), type, isize(shape), shape.data());
    ggml_set_name(info, name.c_str());
    gguf_add_tensor(file_.get(), info);
    entries_.push_back({info, std::move(bytes)});
  }

  std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(gguf_get_meta_size(file_.get()));
    gguf_get_meta_data(file_.get(), out.data());
    const size_t alignment = gguf_get_alignment(file_.get());
    for (const Entry& entry : entries_) {
      out.insert(out.end(), entry.bytes.begin(), entry.bytes.end());
      out.resize((out.size() + alignment - 1) / alignment * alignment);
    }
    return out;
  }

 private:
  GgufPtr file_;
  GgmlPtr infos_;
  std::vector<Entry> entries_;
};

// Formats with scales of 16 bits turn large values into infinity, which no reader takes.
Status check_range(const AdapterTensor& tensor, ggml_type type, const std::vector<std::byte>& bytes) {
  std::vector<float> stored(tensor.values.size());
  tensor_to_floats({tensor.name, type, tensor.shape, bytes.data(), bytes.size()}, stored.data());
  for (size_t i = 0; i < stored.size(); ++i) {
    if (std::isfinite(stored[i]) || !std::isfinite(tensor.values[i])) continue;
    return Error{
        fmt::format("tensor \"{}\" holds {}, which {} cannot hold: store it as f32, or train again with a "
                    "smaller rate",
                    tensor.name, tensor.values[i], ggml_type_name(type))};
  }
  return Ok();
}

Result<std::vector<std::byte>> encode(const AdapterTensor& tensor, ggml_type type) {
  const int64_t size = std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
  if (tensor.shape.empty() || tensor.shape.size() > 2 || size < 1 || usize(size) != tensor.values.size()) {
    return Error{fmt::format("tensor \"{}\": {} values do not fill the shape [{}]", tensor.name, tensor.values.size(),
                             fmt::join(tensor.shape, ", "))};
  }
  const int64_t cols = tensor.shape[0], rows = size / cols;
  std::vector<std::byte> bytes(usize(rows) * ggml_row_size(type, cols));
  ggml_quantize_chunk(type, tensor.values.data(), bytes.data(), 0, rows, cols, nullptr);
  S3D_TRY(check_range(tensor, type, bytes));
  return bytes;
}

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto* first = reinterpret_cast<const std::byte*>(values.data());
  return {first, first + values.size() * sizeof(T)};
}

void add_draft_ids(const std::vector<TokenId>& ids, Image& image) {
  if (ids.empty()) return;
  image.add(std::string(names::kDraftIds), GGML_TYPE_I32, {static_cast<int64_t>(ids.size())}, bytes_of(ids));
}

void add_ngrams(const Ngrams& ngrams, Image& image) {
  if (ngrams.size() == 0) return;
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < ngrams.size(); ++i) {
    tokens.insert(tokens.end(), {ngrams.before[i], ngrams.last[i], ngrams.next[i]});
  }
  const auto n = static_cast<int64_t>(ngrams.size());
  image.add(std::string(names::kNgramTokens), GGML_TYPE_I32, {3, n}, bytes_of(tokens));
  image.add(std::string(names::kNgramChance), GGML_TYPE_F32, {n}, bytes_of(ngrams.chance));
}

Status add_tensors(const std::vector<AdapterTensor>& tensors, ggml_type type, Image& image) {
  for (const AdapterTensor& tensor : tensors) {
    const ggml_type stored = stored_type(tensor, type);
    S3D_ASSIGN(std::vector<std::byte> bytes, encode(tensor, stored));
    image.add(tensor.name, stored, tensor.shape, std::move(bytes));
  }
  return Ok();
}

}  // namespace

Result<std::vector<std::byte>> drafter_image(const DrafterMetadata& metadata, const std::vector<AdapterTensor>& tensors,
                                             const std::vector<TokenId>& draft_ids, ggml_type type) {
  if (type != GGML_TYPE_F32 && type != GGML_TYPE_F16 && type != GGML_TYPE_Q8_0 && type != GGML_TYPE_Q4_0 &&
      type != GGML_TYPE_Q4_1) {
    return Error{fmt::format("a drafter is stored as f32, f16, q8_0, q4_0 or q4_1, not as {}", ggml_type_name(type))};
  }
  Image image(tensors.size() + 1);
  set_header(image.file(), metadata.header.base_fingerprint, metadata.header.base_name);
  gguf_set_val_str(image.file(), "s3d.kind", metadata.header.kind.c_str());
  if (!metadata.taps.empty()) {
    gguf_set_arr_data(image.file(), std::string(draft_file_names::kEagleTaps).c_str(), GGUF_TYPE_INT32,
                      metadata.taps.data(), metadata.taps.size());
  }
  if (metadata.heads > 0) {
    gguf_set_val_u32(image.file(), std::string(draft_file_names::kMedusaHeads).c_str(),
                     static_cast<uint32_t>(metadata.heads));
  }
  set_training(image.file(), metadata.cost);
  S3D_TRY(add_tensors(tensors, type, image));
  add_draft_ids(draft_ids, image);
  return image.bytes();
}

Result<std::vector<std::byte>> adapter_image(const AdapterConfig& config, const std::vector<AdapterTensor>& tensors,
                                             const std::vector<int32_t>& draft_ids, ggml_type type,
                                             const Ngrams& ngrams, const TrainingCost& cost) {
  if (type != GGML_TYPE_F32 && type != GGML_TYPE_F16 && type != GGML_TYPE_Q8_0) {
    return Error{fmt::format("an adapter is stored as f32, f16 or q8_0, not as {}", ggml_type_name(type))};
  }
  Image image(tensors.size() + 3);
  set_metadata(image.file(), config);
  set_training(image.file(), cost);
  S3D_TRY(add_tensors(tensors, type, image));
  add_draft_ids(draft_ids, image);
  add_ngrams(ngrams, image);
  return image.bytes();
}

TrainingCost training_of(const GgufFile& file) {
  const auto seconds = file.real("s3d.training.core_seconds");
  const auto anchors = file.integer("s3d.training.anchors"), tokens = file.integer("s3d.training.tokens");
  const auto device = file.string("s3d.training.device");
  return {.core_seconds = seconds.ok() ? seconds->value_or(0) : 0,
          .anchors = anchors.ok() ? anchors->value_or(0) : 0,
          .tokens = tokens.ok() ? std::max<int64_t>(0, tokens->value_or(0)) : 0,
          .device = device.ok() ? device->value_or("") : ""};
}

std::vector<std::byte> with_ngrams(const Adapter& adapter, const Ngrams& ngrams) {
  Image image(adapter.file->tensors().size() + 2);
  set_metadata(image.file(), adapter.config);
  set_training(image.file(), training_of(*adapter.file));
  for (const Tensor& stored : adapter.file->tensors()) {
    if (stored.name == names::kNgramTokens || stored.name == names::kNgramChance) continue;
    image.add(stored.name, stored.type, stored.shape, {stored.data, stored.data + stored.bytes});
  }
  add_ngrams(ngrams, image);
  return image.bytes();
}

}  // namespace s3d
