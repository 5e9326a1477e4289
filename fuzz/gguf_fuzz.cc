// Fuzz entry for everything that reads a GGUF file: the scan, ggml's reader behind it, the getters, the model's
// config and weights. Nothing is written to disk.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "file/gguf.h"
#include "model/config.h"
#include "model/fingerprint.h"
#include "model/weights.h"

namespace {

// Keeps a value alive, so that the compiler cannot drop the reading of it.
volatile unsigned g_sink = 0;

void read_values(const s3d::GgufFile& file) {
  for (const std::string& key : file.keys()) {
    g_sink = g_sink + static_cast<unsigned>(file.value_text(key).size());
    (void)file.integer(key).ok();
    (void)file.real(key).ok();
    (void)file.boolean(key).ok();
    (void)file.string(key).ok();
    (void)file.strings(key).ok();
    (void)file.integers(key).ok();
    (void)file.reals(key).ok();
  }
}

void read_tensors(const s3d::GgufFile& file) {
  for (const s3d::Tensor& tensor : file.tensors()) {
    for (size_t i = 0; i < tensor.bytes; ++i) g_sink = g_sink + static_cast<unsigned>(tensor.data[i]);
    file.release_pages(tensor);
  }
}

void load(std::shared_ptr<const s3d::GgufFile> file) {
  auto config = s3d::read_model_config(*file);
  if (!config.ok()) return;
  s3d::ThreadPool pool(1);
  const auto model = s3d::load_model(std::move(file), std::move(config).value(), pool);
  if (!model.ok()) return;
  std::vector<float> row(static_cast<size_t>(model->config.d_model));
  model->embed(model->config.vocab_size - 1, row.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::byte> image(size);
  if (size > 0) std::memcpy(image.data(), data, size);
  auto opened = s3d::GgufFile::from_bytes(std::move(image), "fuzz.gguf");
  if (!opened.ok()) return 0;
  const auto file = std::make_shared<const s3d::GgufFile>(std::move(opened).value());
  read_values(*file);
  read_tensors(*file);
  g_sink = g_sink + static_cast<unsigned>(s3d::base_fingerprint(*file));
  load(file);
  return 0;
}
