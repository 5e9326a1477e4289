#include "backend/side_matrix.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/backend.h"
#include "base/check.h"

namespace s3d {

Result<SideMatrix> pack_side_matrix(const GgufFile& file, const Tensor* tensor, ThreadPool* pool) {
  SideMatrix out;
  if (tensor == nullptr) return out;
  out.tensor = tensor;
  auto packed = PackedMatrix::pack(tensor->type, tensor->data, static_cast<size_t>(tensor->rows()),
                                   static_cast<size_t>(tensor->cols()), pool);
  if (!packed.ok()) return packed.error().within(fmt::format("{}: tensor \"{}\"", file.path(), tensor->name));
  out.packed = std::move(*packed);
  out.own_bytes = out.packed.bytes();
  file.release_pages(*tensor);
  return out;
}

namespace {

bool begins_with(const std::vector<TokenId>& order, std::span<const TokenId> ids) {
  return ids.size() <= order.size() && std::equal(ids.begin(), ids.end(), order.begin());
}

}  // namespace

bool begins_head(const SideMatrix& w, const Model& model) {
  if (model.side != nullptr || w.tensor != &lm_head_tensor(model)) return false;
  return w.ids.empty() ? model.lm_head_ids.empty() : begins_with(model.lm_head_ids, w.ids);
}

Result<SideMatrix> side_head(const Model& base, std::span<const TokenId> ids, ThreadPool* pool) {
  SideMatrix out;
  out.tensor = &lm_head_tensor(base);
  const std::vector<TokenId>& order = base.lm_head_ids;
  if (ids.empty()) {
    out.ids = order;
    out.packed = base.lm_head;
    return out;
  }
  out.ids.assign(ids.begin(), ids.end());
  if (base.layers.empty()) return out;  // the reference's
  if (begins_with(order, ids)) {
    if (!base.lm_head.empty()) out.packed = base.lm_head.first_rows(ids.size());
    return out;
  }
  auto packed = PackedMatrix::pack(out.tensor->type, out.tensor->data, ids.size(), out.cols(), pool, ids);
  if (!packed.ok()) return packed.error().within(fmt::format("{}: rows of its LM head", base.file->path()));
  out.packed = std::move(*packed);
  out.own_bytes = out.packed.bytes();
  base.file->release_pages(*out.tensor);
  return out;
}

// ---- What a backend does that cannot ------------------------------------------------------------------------------

Status Backend::can_multiply() const {
  return Error{
      fmt::format("the backend {} runs no drafter with layers or heads of its own (eagle, medusa); "
                  "expected cpu, cuda or reference",
                  name())};
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): backends that override it keep the model.
Result<std::unique_ptr<Backend>> Backend::beside(std::shared_ptr<const Model> /*model*/, int /*max_rows*/) {
  return can_multiply().error();
}

void Backend::multiply(const SideMatrix& /*w*/, std::span<const float> /*in*/, std::span<float> /*out*/) {
  S3D_CHECK(false, "a backend that runs nothing beside its model");
}

}  // namespace s3d
