// Fuzz entry for adapters and other drafters' files, which come from strangers as models do: metadata, shapes, types,
// token ids and n-grams. What is accepted is read to its last byte. Nothing is written to disk.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "file/gguf.h"
#include "model/adapter.h"
#include "model/drafter_file.h"
#include "small_base.h"

namespace {

volatile unsigned g_sink = 0;

void read_all(const s3d::GgufFile& file, const std::vector<s3d::TokenId>& draft_ids) {
  for (const s3d::Tensor& tensor : file.tensors()) {
    for (size_t i = 0; i < tensor.bytes; ++i) g_sink = g_sink + static_cast<unsigned>(tensor.data[i]);
  }
  for (const int32_t id : draft_ids) g_sink = g_sink + static_cast<unsigned>(id);
}

void read_all(const s3d::Adapter& adapter) {
  read_all(*adapter.file, adapter.draft_ids);
  for (size_t i = 0; i < adapter.ngrams.size(); ++i) {
    g_sink = g_sink + static_cast<unsigned>(adapter.ngrams.before[i] + adapter.ngrams.last[i] + adapter.ngrams.next[i]);
  }
  (void)s3d::with_ngrams(adapter, {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> image(size);
  if (size > 0) std::memcpy(image.data(), data, size);
  auto opened = s3d::GgufFile::from_bytes(std::move(image), "fuzz.gguf");
  if (!opened.ok()) return 0;
  auto file = std::make_shared<const s3d::GgufFile>(std::move(opened).value());
  (void)s3d::read_adapter_config(*file).ok();
  (void)s3d::read_drafter_header(*file).ok();
  const auto eagle = s3d::open_eagle(file, s3d::small_base(), s3d::kSmallBaseFingerprint);
  if (eagle.ok()) read_all(*eagle->file, eagle->draft_ids);
  const auto medusa = s3d::open_medusa(file, s3d::small_base(), s3d::kSmallBaseFingerprint);
  if (medusa.ok()) read_all(*medusa->file, medusa->draft_ids);
  const auto adapter = s3d::open_adapter(std::move(file), s3d::small_base(), s3d::kSmallBaseFingerprint);
  if (adapter.ok()) read_all(*adapter);
  return 0;
}
