#include "engine/draft_parts.h"

#include <fmt/format.h>

#include "engine/runtime.h"
#include "model/drafter_file.h"
#include "model/fingerprint.h"

namespace s3d {
namespace {

// What is kept under `what` and the path; made by `open` if it is not there: (opened file, fingerprint of the base) ->
// Result<shared_ptr<Shared>>.
template <typename Shared, typename Open>
Result<std::shared_ptr<Shared>> shared_parts(Runtime& runtime, std::string_view what, const std::string& path,
                                             Open open) {
  SharedParts& kept = runtime.shared_by(fmt::format("{} {}", what, path));
  if (kept.parts == nullptr) {
    S3D_ASSIGN(const std::shared_ptr<Shared> made,
               open(runtime.draft_file(path).file, base_fingerprint(runtime.file())));
    if (made == nullptr) return made;
    kept = {.parts = std::const_pointer_cast<std::remove_const_t<Shared>>(made), .bytes = made->bytes()};
  }
  return std::static_pointer_cast<Shared>(kept.parts);
}

// Of a drafter that runs beside the model: what `create` packs of the file that `open` reads.
template <typename Shared, typename File, typename Create>
Result<std::shared_ptr<Shared>> shared_beside(Runtime& runtime, const std::string& path,
                                              Result<File> (*open)(std::shared_ptr<const GgufFile>, const ModelConfig&,
                                                                   uint64_t),
                                              Create create) {
  return shared_parts<Shared>(
      runtime, "beside", path,
      [&](std::shared_ptr<const GgufFile> file, uint64_t fingerprint) -> Result<std::shared_ptr<Shared>> {
        S3D_ASSIGN(File parts, open(std::move(file), runtime.config(), fingerprint));
        ThreadPool pool(runtime.threads());
        return create(std::move(parts), pool);
      });
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
  return shared_beside<EagleHead>(runtime, path, open_eagle, [&](EagleFile file, ThreadPool& pool) {
    return EagleHead::create(std::move(file), runtime.shared_model(), runtime.backend(), runtime.kv(), pool);
  });
}

Result<std::shared_ptr<MedusaHeads>> shared_medusa(Runtime& runtime, const std::string& path) {
  return shared_beside<MedusaHeads>(runtime, path, open_medusa, [&](MedusaFile file, ThreadPool& pool) {
    return MedusaHeads::create(std::move(file), runtime.shared_model(), runtime.backend(), pool);
  });
}

}  // namespace s3d
