#include "model/drafter_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <set>

#include "base/index.h"
#include "model/fingerprint.h"
#include "model/tensor_floats.h"
#include "model/weights.h"

namespace s3d {
namespace {

namespace names = draft_file_names;

// Tensors of one file, with its path in every message. Whoever is not asked for is unknown.
class Reader {
 public:
  explicit Reader(const GgufFile& file) : file_(file) {}

  template <typename... Args>
  Error error(fmt::format_string<Args...> text, Args&&... args) const {
    return Error{file_.path() + ": " + fmt::format(text, std::forward<Args>(args)...)};
  }

  // A tensor of that shape (GGUF's order), one of the types; null if it is absent and may be.
  Result<const Tensor*> tensor(const std::string& name, std::vector<int64_t> shape, bool optional = false) {
    asked_.insert(name);
    const Tensor* tensor = file_.find_tensor(name);
    if (tensor == nullptr) {
      if (optional) return tensor;
      return error("tensor \"{}\" of shape [{}] is missing", name, fmt::join(shape, ", "));
    }
    std::vector<int64_t> found = tensor->shape;
    while (found.size() > shape.size() && found.back() == 1) found.pop_back();
    while (found.size() < shape.size()) found.push_back(1);
    if (found != shape) {
      return error("tensor \"{}\" has the shape [{}], expected [{}] for this base", name,
                   fmt::join(tensor->shape, ", "), fmt::join(shape, ", "));
    }
    const bool good = shape.size() == 1 ? tensor->type == GGML_TYPE_F32 : is_matrix_type(tensor->type);
    if (!good) {
      return error("tensor \"{}\" has type {}, expected {}", name, ggml_type_name(tensor->type),
                   shape.size() == 1 ? "f32" : "f32, f16, q8_0, q4_0 or q4_1");
    }
    S3D_TRY(check_finite(*tensor));
    return tensor;
  }

  Result<std::vector<TokenId>> draft_ids(int vocab_size) {
    asked_.insert(std::string(adapter_names::kDraftIds));
    std::vector<TokenId> ids;
    const Tensor* tensor = file_.find_tensor(adapter_names::kDraftIds);
    if (tensor == nullptr) return ids;
    if (tensor->type != GGML_TYPE_I32 || tensor->rows() != 1 || tensor->cols() > vocab_size) {
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

  // No tensor whose use is not known.
  Status refuse_unknown(std::string_view kind) const {
    for (const Tensor& tensor : file_.tensors()) {
      if (!asked_.contains(tensor.name)) {
        return error("tensor \"{:.80}\" is not part of a drafter of kind \"{}\"", tensor.name, kind);
      }
    }
    return Ok();
  }

 private:
  static bool is_matrix_type(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_Q8_0 || type == GGML_TYPE_Q4_0 ||
           type == GGML_TYPE_Q4_1;
  }

  Status check_finite(const Tensor& tensor) const {
    std::vector<float> row(usize(tensor.cols()));
    for (int64_t r = 0; r < tensor.rows(); ++r) {
      row_to_floats(tensor, r, row.data());
      if (std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); })) continue;
      return error("tensor \"{}\" holds a value that is not finite, in row {}", tensor.name, r);
    }
    return Ok();
  }

  const GgufFile& file_;
  std::set<std::string, std::less<>> asked_;
};

Result<uint64_t> read_fingerprint(const GgufFile& file, const Reader& reader) {
  S3D_ASSIGN(const auto text, file.string("s3d.base.fingerprint"));
  if (!text) return reader.error("metadata key \"s3d.base.fingerprint\" is missing");
  uint64_t value = 0;
  const char* end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, value, 16);
  if (text->size() == 16 && parsed.ec == std::errc() && parsed.ptr == end) return value;
  return reader.error("metadata key \"s3d.base.fingerprint\" is \"{:.40}\", expected 16 hexadecimal digits", *text);
}

Status check_header(const GgufFile& file, const Reader& reader, std::string_view kind, uint64_t fingerprint) {
  S3D_ASSIGN(const DrafterHeader header, read_drafter_header(file));
  if (header.kind != kind) {
    return reader.error("the drafter is of kind \"{:.40}\", expected \"{}\"", header.kind, kind);
  }
  if (header.base_fingerprint == fingerprint) return Ok();
  return reader.error(
      "the drafter was made for another model{}: it wants the base fingerprint {}, this model's is {}; use its own "
      "base, or train a drafter for this one",
      header.base_name.empty() ? "" : fmt::format(", \"{:.80}\"", header.base_name),
      fingerprint_text(header.base_fingerprint), fingerprint_text(fingerprint));
}

Result<std::vector<int>> read_taps(const GgufFile& file, const Reader& reader, int n_layers) {
  S3D_ASSIGN(const auto values, file.integers(names::kEagleTaps));
  std::vector<int> taps;
  if (!values) return taps;
  bool good = !values->empty() && values->size() <= EagleFile::kMaxTaps;
  for (size_t i = 0; good && i < values->size(); ++i) {
    const int64_t tap = (*values)[i];
    good = tap >= 1 && tap <= n_layers && (i == 0 || tap > (*values)[i - 1]);
    taps.push_back(static_cast<int>(tap));
  }
  if (good) return taps;
  return reader.error("metadata key \"{}\" is {}, expected 1 to {} rising numbers from 1 to {}", names::kEagleTaps,
                      file.value_text(names::kEagleTaps), EagleFile::kMaxTaps, n_layers);
}

Status check_layer(const GgufFile& file, const ModelConfig& base, Reader& reader) {
  int biases = 0;
  for (const LayerTensor& spec : side_layer_tensors(base)) {
    S3D_ASSIGN(const Tensor* tensor, reader.tensor(spec.name, spec.shape, spec.optional));
    if (spec.optional && tensor != nullptr) ++biases;
  }
  if (biases == 0 || biases == 3) return Ok();
  return Error{
      fmt::format("{}: only {} of the three biases of queries, keys and values are there, expected all or none",
                  file.path(), biases)};
}

Result<MedusaFile::Head> read_head(int k, int64_t d, int64_t drafted, int64_t& rank, const GgufFile& file,
                                   Reader& reader) {
  MedusaFile::Head head;
  S3D_ASSIGN(head.weight, reader.tensor(names::medusa(k, "weight"), {d, d}));
  S3D_ASSIGN(const Tensor* bias, reader.tensor(names::medusa(k, "bias"), {d}));
  S3D_ASSIGN(head.bias, read_vector(file, *bias, usize(d)));
  const std::string low = names::medusa(k, "head_a"), high = names::medusa(k, "head_b");
  const Tensor* first = file.find_tensor(low);
  const int64_t mine = first == nullptr ? 0 : first->rows();
  if (k == 0) rank = mine;
  if (mine != rank || mine > AdapterConfig::kMaxRank || (file.find_tensor(high) != nullptr) != (mine > 0)) {
    return reader.error("tensors \"{}\" and \"{}\": expected both, with rank {}, or neither in any head", low, high,
                        rank);
  }
  if (mine == 0) return head;
  S3D_ASSIGN(head.low, reader.tensor(low, {d, mine}));
  S3D_ASSIGN(head.low_head, reader.tensor(high, {mine, drafted}));
  return head;
}

}  // namespace

std::string draft_file_names::medusa(int head, std::string_view part) {
  return fmt::format("medusa.{}.{}", head, part);
}

Result<DrafterHeader> read_drafter_header(const GgufFile& file) {
  const Reader reader(file);
  DrafterHeader header;
  S3D_ASSIGN(const auto architecture, file.string("general.architecture"));
  if (architecture.value_or("") != adapter_names::kArchitecture) {
    return reader.error("general.architecture is \"{:.40}\", expected \"{}\": this is not the file of a drafter",
                        architecture.value_or("(none)"), adapter_names::kArchitecture);
  }
  S3D_ASSIGN(const auto version, file.integer("s3d.version"));
  if (version.value_or(0) != adapter_names::kVersion) {
    return reader.error("the drafter has format version {}, this program reads version {}", version.value_or(0),
                        adapter_names::kVersion);
  }
  S3D_ASSIGN(const auto kind, file.string("s3d.kind"));
  header.kind = kind.value_or("s3d");
  S3D_ASSIGN(header.base_fingerprint, read_fingerprint(file, reader));
  S3D_ASSIGN(const auto name, file.string("s3d.base.name"));
  header.base_name = name.value_or("");
  return header;
}

Result<EagleFile> open_eagle(std::shared_ptr<const GgufFile> file, const ModelConfig& base, uint64_t base_fingerprint) {
  Reader reader(*file);
  EagleFile eagle;
  S3D_TRY(check_header(*file, reader, names::kEagle, base_fingerprint));
  S3D_ASSIGN(eagle.taps, read_taps(*file, reader, base.n_layers));
  const int64_t d = base.d_model;
  S3D_ASSIGN(eagle.fc, reader.tensor(std::string(names::kEagleFc), {2 * d, d}));
  if (!eagle.taps.empty()) {
    S3D_ASSIGN(eagle.tap, reader.tensor(std::string(names::kEagleTap), {d * isize(eagle.taps), d}));
  }
  S3D_TRY(check_layer(*file, base, reader));
  S3D_ASSIGN(eagle.draft_ids, reader.draft_ids(base.vocab_size));
  S3D_TRY(reader.refuse_unknown(names::kEagle));
  eagle.file = std::move(file);
  return eagle;
}

Result<MedusaFile> open_medusa(std::shared_ptr<const GgufFile> file, const ModelConfig& base,
                               uint64_t base_fingerprint) {
  Reader reader(*file);
  MedusaFile medusa;
  S3D_TRY(check_header(*file, reader, names::kMedusa, base_fingerprint));
  S3D_ASSIGN(const auto heads, file->integer(names::kMedusaHeads));
  if (heads.value_or(0) < 1 || *heads > MedusaFile::kMaxHeads) {
    return reader.error("metadata key \"{}\" is {}, expected 1 to {}", names::kMedusaHeads,
                        heads ? fmt::to_string(*heads) : "missing", MedusaFile::kMaxHeads);
  }
  S3D_ASSIGN(medusa.draft_ids, reader.draft_ids(base.vocab_size));
  const int64_t drafted = medusa.draft_ids.empty() ? base.vocab_size : isize(medusa.draft_ids);
  int64_t rank = 0;
  for (int k = 0; k < *heads; ++k) {
    S3D_ASSIGN(MedusaFile::Head head, read_head(k, base.d_model, drafted, rank, *file, reader));
    medusa.heads.push_back(std::move(head));
  }
  S3D_TRY(reader.refuse_unknown(names::kMedusa));
  medusa.file = std::move(file);
  return medusa;
}

}  // namespace s3d
