#include "model/drafter_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/index.h"
#include "model/drafter_reader.h"
#include "model/tensor_floats.h"
#include "model/weights.h"

namespace s3d {
namespace {

namespace file_names = draft_file_names;

// Whoever is not asked for is unknown.
class TensorReader : public DrafterReader {
 public:
  using DrafterReader::DrafterReader;

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
    return DrafterReader::draft_ids(vocab_size);
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

  std::set<std::string, std::less<>> asked_;
};

Status check_header(const GgufFile& file, const TensorReader& reader, std::string_view kind, uint64_t fingerprint) {
  S3D_ASSIGN(const DrafterHeader header, read_drafter_header(file));
  if (header.kind != kind) {
    return reader.error("the drafter is of kind \"{:.40}\", expected \"{}\"", header.kind, kind);
  }
  return reader.check_base("drafter", header.base_name, header.base_fingerprint, fingerprint);
}

Result<std::vector<int>> read_taps(const GgufFile& file, const TensorReader& reader, int n_layers) {
  S3D_ASSIGN(const auto values, file.integers(file_names::kEagleTaps));
  std::vector<int> taps;
  if (!values) return taps;
  bool good = !values->empty() && values->size() <= EagleFile::kMaxTaps;
  for (size_t i = 0; good && i < values->size(); ++i) {
    const int64_t tap = (*values)[i];
    good = tap >= 1 && tap <= n_layers && (i == 0 || tap > (*values)[i - 1]);
    taps.push_back(static_cast<int>(tap));
  }
  if (good) return taps;
  return reader.error("metadata key \"{}\" is {}, expected 1 to {} rising numbers from 1 to {}", file_names::kEagleTaps,
                      file.value_text(file_names::kEagleTaps), EagleFile::kMaxTaps, n_layers);
}

Status check_layer(const GgufFile& file, const ModelConfig& base, TensorReader& reader) {
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
                                   TensorReader& reader) {
  MedusaFile::Head head;
  S3D_ASSIGN(head.weight, reader.tensor(file_names::medusa(k, "weight"), {d, d}));
  S3D_ASSIGN(const Tensor* bias, reader.tensor(file_names::medusa(k, "bias"), {d}));
  S3D_ASSIGN(head.bias, read_vector(file, *bias, usize(d)));
  const std::string low = file_names::medusa(k, "head_a"), high = file_names::medusa(k, "head_b");
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
  const DrafterReader reader(file);
  DrafterHeader header;
  S3D_TRY(reader.check_format());
  S3D_ASSIGN(const auto kind, file.string("s3d.kind"));
  header.kind = kind.value_or("s3d");
  S3D_ASSIGN(header.base_fingerprint, reader.base_fingerprint());
  S3D_ASSIGN(const auto name, file.string("s3d.base.name"));
  header.base_name = name.value_or("");
  return header;
}

Result<EagleFile> open_eagle(std::shared_ptr<const GgufFile> file, const ModelConfig& base, uint64_t base_fingerprint) {
  TensorReader reader(*file);
  EagleFile eagle;
  S3D_TRY(check_header(*file, reader, file_names::kEagle, base_fingerprint));
  S3D_ASSIGN(eagle.taps, read_taps(*file, reader, base.n_layers));
  const int64_t d = base.d_model;
  S3D_ASSIGN(eagle.fc, reader.tensor(std::string(file_names::kEagleFc), {2 * d, d}));
  if (!eagle.taps.empty()) {
    S3D_ASSIGN(eagle.tap, reader.tensor(std::string(file_names::kEagleTap), {d * isize(eagle.taps), d}));
  }
  S3D_TRY(check_layer(*file, base, reader));
  S3D_ASSIGN(eagle.draft_ids, reader.draft_ids(base.vocab_size));
  S3D_TRY(reader.refuse_unknown(file_names::kEagle));
  eagle.file = std::move(file);
  return eagle;
}

Result<MedusaFile> open_medusa(std::shared_ptr<const GgufFile> file, const ModelConfig& base,
                               uint64_t base_fingerprint) {
  TensorReader reader(*file);
  MedusaFile medusa;
  S3D_TRY(check_header(*file, reader, file_names::kMedusa, base_fingerprint));
  S3D_ASSIGN(const auto heads, file->integer(file_names::kMedusaHeads));
  if (heads.value_or(0) < 1 || *heads > MedusaFile::kMaxHeads) {
    return reader.error("metadata key \"{}\" is {}, expected 1 to {}", file_names::kMedusaHeads,
                        heads ? fmt::to_string(*heads) : "missing", MedusaFile::kMaxHeads);
  }
  S3D_ASSIGN(medusa.draft_ids, reader.draft_ids(base.vocab_size));
  const int64_t drafted = medusa.draft_ids.empty() ? base.vocab_size : isize(medusa.draft_ids);
  int64_t rank = 0;
  for (int k = 0; k < *heads; ++k) {
    S3D_ASSIGN(MedusaFile::Head head, read_head(k, base.d_model, drafted, rank, *file, reader));
    medusa.heads.push_back(std::move(head));
  }
  S3D_TRY(reader.refuse_unknown(file_names::kMedusa));
  medusa.file = std::move(file);
  return medusa;
}

}  // namespace s3d
