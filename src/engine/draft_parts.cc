#include "engine/draft_parts.h"

#include <fmt/format.h>

#include "engine/runtime.h"
#include "model/drafter_file.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

// What is kept under `what` and the path; made by `open` if it is not there: (file, fingerprint of the base) ->
// Result<shared_ptr<Shared>>.
template <typename Shared, typename Open>
Result<std::shared_ptr<Shared>> shared_parts(Runtime& runtime, std::string_view what, const std::string& path,
                                             Open open) {
  SharedParts& kept = runtime.shared_by(fmt::format("{} {}", what, path));
  if (kept.parts == nullptr) {
    S3D_ASSIGN(GgufFile file, GgufFile::open(path));
    S3D_ASSIGN(const std::shared_ptr<Shared> made,
               open(std::make_shared<const GgufFile>(std::move(file)), base_fingerprint(runtime.file())));
    if (made == nullptr) return made;
    kept = {.parts = std::const_pointer_cast<std::remove_const_t<Shared>>(made), .bytes = made->bytes()};
  }
  return std::static_pointer_cast<Shared>(kept.parts);
}

}  // namespace

Result<std::shared_ptr<const PackedAdapter>> shared_adapter(Runtime& runtime, const std::string& path) {
  return shared_parts<const PackedAdapter>(
      runtime, "adapter", path,
      [&](std::shared_ptr<const GgufFile> file, uint64_t fingerprint) -> Result<std::shared_ptr<const PackedAdapter>> {
        S3D_ASSIGN(const Adapter adapter, open_adapter(std::move(file), runtime.config(), fingerprint));
        ThreadPool pool(runtime.threads());
        S3D_ASSIGN(auto packed, PackedAdapter::create(adapter, runtime.model(), &pool));
        if (packed->own_head() == nullptr || !is_on_device(runtime.backend_kind())) return packed;
        return Error{fmt::format(
            "{}: its draft vocabulary is not the beginning of that of the first adapter, {}; on a card all adapters "
            "must have one vocabulary in common: name this one with --adapter, or use --backend cpu",
            path, runtime.adapter_path())};
      });
}

Result<std::shared_ptr<const NgramTable>> shared_ngrams(Runtime& runtime) {
  const std::string path = runtime.adapter_path();
  if (path.empty()) return std::shared_ptr<const NgramTable>();
  return shared_parts<const NgramTable>(
      runtime, "n-grams", path,
      [&](std::shared_ptr<const GgufFile> file, uint64_t fingerprint) -> Result<std::shared_ptr<const NgramTable>> {
        S3D_ASSIGN(const Adapter adapter, open_adapter(std::move(file), runtime.config(), fingerprint));
        if (adapter.ngrams.size() == 0) return std::shared_ptr<const NgramTable>();
        return std::make_shared<const NgramTable>(adapter.ngrams);
      });
}

Result<std::shared_ptr<EagleHead>> shared_eagle(Runtime& runtime, const std::string& path) {
  return shared_parts<EagleHead>(
      runtime, draft_file_names::kEagle, path,
      [&](std::shared_ptr<const GgufFile> file, uint64_t fingerprint) -> Result<std::shared_ptr<EagleHead>> {
        S3D_ASSIGN(EagleFile eagle, open_eagle(std::move(file), runtime.config(), fingerprint));
        ThreadPool pool(runtime.threads());
        return EagleHead::create(std::move(eagle), runtime.shared_model(), runtime.backend(), runtime.kv(), pool);
      });
}

Result<std::shared_ptr<MedusaHeads>> shared_medusa(Runtime& runtime, const std::string& path) {
  return shared_parts<MedusaHeads>(
      runtime, draft_file_names::kMedusa, path,
      [&](std::shared_ptr<const GgufFile> file, uint64_t fingerprint) -> Result<std::shared_ptr<MedusaHeads>> {
        S3D_ASSIGN(MedusaFile medusa, open_medusa(std::move(file), runtime.config(), fingerprint));
        ThreadPool pool(runtime.threads());
        return MedusaHeads::create(std::move(medusa), runtime.shared_model(), runtime.backend(), pool);
      });
}

}  // namespace s3d
