#include "model/drafter_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/index.h"
#include "model/adapter.h"
#include "model/fingerprint.h"
#include "model/tensor_floats.h"

namespace s3d {

Status DrafterReader::check_format() const {
  S3D_ASSIGN(const auto architecture, file_.string("general.architecture"));
  if (architecture.value_or("") != adapter_names::kArchitecture) {
    return error("general.architecture is \"{:.40}\", expected \"{}\": this is not the file of a drafter",
                 architecture.value_or("(none)"), adapter_names::kArchitecture);
  }
  S3D_ASSIGN(const auto version, file_.integer("s3d.version"));
  if (!version) return error("metadata key \"s3d.version\" is missing");
  if (*version == adapter_names::kVersion) return Ok();
  return error("the file has format version {}, this program reads version {}: get a file of that version, or {}",
               *version, adapter_names::kVersion,
               *version > adapter_names::kVersion ? "a newer s3d" : "train it again");
}

Result<uint64_t> DrafterReader::base_fingerprint() const {
  S3D_ASSIGN(const auto text, file_.string("s3d.base.fingerprint"));
  if (!text) return error("metadata key \"s3d.base.fingerprint\" is missing");
  uint64_t value = 0;
  const char* end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, value, 16);
  if (text->size() == 16 && parsed.ec == std::errc() && parsed.ptr == end) return value;
  return error("metadata key \"s3d.base.fingerprint\" is \"{:.40}\", expected 16 hexadecimal digits", *text);
}

Status DrafterReader::check_base(std::string_view thing, std::string_view name, uint64_t wanted, uint64_t found) const {
  if (wanted == found) return Ok();
  return error(
      "the {} was made for another model{}: it wants the base fingerprint {}, this model's is {}; use its own base, or "
      "train one for this model",
      thing, name.empty() ? "" : fmt::format(", \"{:.80}\"", name), fingerprint_text(wanted), fingerprint_text(found));
}

Result<std::vector<TokenId>> DrafterReader::draft_ids(int vocab_size) const {
  std::vector<TokenId> ids;
  const Tensor* tensor = file_.find_tensor(adapter_names::kDraftIds);
  if (tensor == nullptr) return ids;
  if (tensor->type != GGML_TYPE_I32 || tensor->rows() != 1 || tensor->cols() < 1 || tensor->cols() > vocab_size) {
    return error("tensor \"{}\" has type {} and the shape [{}], expected i32 and [1 to {}]", tensor->name,
                 ggml_type_name(tensor->type), fmt::join(tensor->shape, ", "), vocab_size);
  }
  ids.resize(usize(tensor->cols()));
  std::memcpy(ids.data(), tensor->data, ids.size() * sizeof(TokenId));
  std::vector<bool> seen(usize(vocab_size));
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_size) {
      return error("tensor \"{}\" holds the token {} outside the base's vocabulary of {}", tensor->name, id,
                   vocab_size);
    }
    if (seen[usize(id)]) return error("tensor \"{}\" holds the token {} twice", tensor->name, id);
    seen[usize(id)] = true;
  }
  return ids;
}

Status DrafterReader::check_finite(const Tensor& tensor) const {
  std::vector<float> row(usize(tensor.cols()));
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    row_to_floats(tensor, r, row.data());
    if (std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); })) continue;
    return error("tensor \"{}\" holds a value that is not finite, in row {}", tensor.name, r);
  }
  return Ok();
}

}  // namespace s3d
