// Writes the seeds of adapter_fuzz: adapter_seeds FOLDER. One adapter with every part, one with few of
// them, and a file of EAGLE's and one of Medusa's.
#include <cstdio>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "model/adapter.h"
#include "model/drafter_test_maker.h"
#include "small_base.h"

namespace {

namespace names = s3d::adapter_names;

s3d::AdapterTensor tensor(std::string_view name, std::vector<int64_t> shape) {
  int64_t size = 1;
  for (const int64_t extent : shape) size *= extent;
  return {std::string(name), std::move(shape), std::vector<float>(static_cast<size_t>(size), 0.25F)};
}

std::vector<s3d::AdapterTensor> all_tensors(const s3d::ModelConfig& base, int64_t rank, int64_t drafted) {
  std::vector<s3d::AdapterTensor> tensors = {tensor(names::kMasks, {base.d_model, 2})};
  for (const int layer : {0, 3}) {
    for (int t = 0; t < s3d::kLoraTargets; ++t) {
      const auto target = static_cast<s3d::LoraTarget>(t);
      const s3d::MatrixShape shape = s3d::lora_target_shape(base, target);
      tensors.push_back(tensor(names::lora(layer, target, 'a'), {shape.cols, rank}));
      tensors.push_back(tensor(names::lora(layer, target, 'b'), {rank, shape.rows}));
    }
  }
  tensors.push_back(tensor(names::kBridgeDown, {base.d_model, rank}));
  tensors.push_back(tensor(names::kBridgeUp, {rank, base.d_model}));
  tensors.push_back(tensor(names::kStateDown, {base.d_model, rank}));
  tensors.push_back(tensor(names::kStateUp, {rank, base.d_model}));
  tensors.push_back(tensor(names::kMarkovP, {base.d_model, rank}));
  tensors.push_back(tensor(names::kMarkovW2, {rank, drafted}));
  tensors.push_back(tensor(names::kConfidenceW, {base.d_model + rank}));
  tensors.push_back(tensor(names::kConfidenceB, {1}));
  return tensors;
}

bool write(const std::string& path, const s3d::Result<std::vector<std::byte>>& image) {
  const s3d::Status status = image.ok() ? s3d::write_file_atomically(path, *image) : s3d::Status(image.error());
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status.ok();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: adapter_seeds FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  const s3d::ModelConfig base = s3d::small_base();
  s3d::AdapterConfig config;
  config.base_fingerprint = s3d::kSmallBaseFingerprint;
  config.base_name = "small";
  config.layers = {1, 1};
  config.masks = 2;
  const s3d::Ngrams ngrams = {.before = {-1, 4}, .last = {5, 5}, .next = {6, 9}, .chance = {0.25F, 1}};
  const auto whole = s3d::adapter_image(config, all_tensors(base, 4, 3), {9, 3, 0}, GGML_TYPE_F16, ngrams);
  config.masks = 0;
  const auto bare = s3d::adapter_image(config, {}, {}, GGML_TYPE_F32);
  const std::vector<std::byte> eagle = s3d::drafter_test::eagle_image(
      base,
      {.taps = {1, 4}, .draft_ids = {9, 3, 0}, .type = GGML_TYPE_Q8_0, .fingerprint = s3d::kSmallBaseFingerprint});
  const std::vector<std::byte> medusa = s3d::drafter_test::medusa_image(
      base, {.heads = 2, .rank = 32, .draft_ids = {9, 3, 0}, .fingerprint = s3d::kSmallBaseFingerprint});
  const bool written = write(folder + "/whole.gguf", whole) && write(folder + "/bare.gguf", bare) &&
                       write(folder + "/eagle.gguf", eagle) && write(folder + "/medusa.gguf", medusa);
  return written ? 0 : 1;
}
