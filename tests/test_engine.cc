#include "test_engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace s3d {
namespace {

// The value, or a test failure and the end of the program (nothing sensible can follow).
template <typename T>
T need(Result<T> result) {
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return std::move(result).value();
}

}  // namespace

std::shared_ptr<const GgufFile> open_file(const std::string& path) {
  return std::make_shared<const GgufFile>(need(GgufFile::open(path)));
}

ModelConfig config_of(const GgufFile& file) {
  return need(read_model_config(file));
}

TestEngine open_engine(const std::string& path) {
  ThreadPool pool(2);
  const auto file = open_file(path);
  TestEngine runtime;
  runtime.model = std::make_shared<const Model>(need(load_model(file, config_of(*file), pool)));
  runtime.backend = need(CpuBackend::create(runtime.model, /*threads=*/2, need(choose_kernels())));
  return runtime;
}

TestEngine open_tiny_engine(const TinyModelOptions& options) {
  const std::string path = write_tiny_model(options);
  TestEngine runtime = open_engine(path);
  std::filesystem::remove(path);  // stays mapped
  return runtime;
}

std::vector<float> engine_logits(const TestEngine& runtime, std::span<const Row> rows, int n_context, KvType kv_type,
                                 LayerSet layers) {
  const ModelConfig& config = runtime.backend->config();
  KvCache kv = need(KvCache::create(config, kv_type, static_cast<int64_t>(rows.size())));
  const KvSequence seq = kv.add_sequence();
  const auto run = [&](int begin, int end, LayerSet run_layers, Want want) {
    std::vector<Row> part(rows.begin() + begin, rows.begin() + end);
    for (Row& row : part) row = {row.token, row.position, std::max(row.parent - begin, -1), seq};
    const std::vector<Want> wanted(part.size(), want);
    Block block{.rows = part, .layers = run_layers};
    block.want = wanted;
    const PassOutput out = need(runtime.backend->run(block, kv));
    return std::vector<float>(out.logits.begin(), out.logits.end());
  };
  const int most = runtime.backend->max_rows();
  for (int begin = 0; begin < n_context; begin += most) {
    const int end = std::min(begin + most, n_context);
    run(begin, end, LayerSet::all(config.n_layers), Want::kNothing);
    kv.commit(seq, end - begin);
  }
  return run(n_context, static_cast<int>(rows.size()), layers, Want::kLogits);
}

std::vector<double> reference_logits(std::shared_ptr<const GgufFile> file, const ModelConfig& config,
                                     std::span<const Row> rows, std::span<const LayerSet> layers,
                                     std::span<const int> wanted, ReferenceRounding rounding) {
  const ReferenceModel reference = need(ReferenceModel::load(std::move(file), config, rounding));
  ThreadPool pool(2);
  return need(reference.run(rows, layers, wanted, pool)).logits;
}

}  // namespace s3d
