// For tests: a model on the CPU backend and on a device, bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/adapter_test_maker.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/test_device.h"
#include "backend/test_side.h"
#include "base/index.h"

namespace s3d::cuda_test {

using adapter_test::Floats;
using adapter_test::Side;

inline std::shared_ptr<const Model> load(const std::string& name, int context = 0) {
  const auto file = adapter_test::open_base(name);
  ModelConfig config = read_model_config(*file).value();
  if (context > 0) config.context_length = context;
  ThreadPool pool(1);
  return std::make_shared<const Model>(load_model(file, config, pool).value());
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// The CPU backend and another one, which are given the same blocks.
class Both {
 public:
  Both(const std::shared_ptr<const Model>& model, KvType type, uint64_t seed = 1, bool turing = false)
      : Both(model, type, std::move(CudaBackend::create(model, cuda::make_test_device(seed, turing)).value())) {}
  Both(const std::shared_ptr<const Model>& model, KvType type, std::unique_ptr<Backend> other)
      : Both(model, type, std::move(other), CpuBackend::create(model, 1, available_kernels().back()).value()) {}
  Both(const std::shared_ptr<const Model>& model, KvType type, std::unique_ptr<Backend> other,
       std::unique_ptr<Backend> cpu)
      : layers_(model->config.n_layers),
        cpu_(std::move(cpu), type, kPositions),
        cuda_(std::move(other), type, kPositions) {}

  static constexpr int kPositions = 2048;  // of each cache

  Side& cpu() { return cpu_; }
  Side& cuda() { return cuda_; }
  LayerSet all_layers() const { return {layers_, 0}; }

  SeqId add_sequence() {
    sequences_.push_back(cpu_.kv().add_sequence());
    sequences_.push_back(cuda_.kv().add_sequence());
    EXPECT_EQ(sequences_.end()[-1].id(), sequences_.end()[-2].id());
    return sequences_.back();
  }
  SeqId copy_sequence(SeqId seq) {
    sequences_.push_back(cpu_.kv().copy_sequence(seq));
    sequences_.push_back(cuda_.kv().copy_sequence(seq));
    return sequences_.back();
  }
  void commit(SeqId seq, int rows) {
    cpu_.kv().commit(seq, rows);
    cuda_.kv().commit(seq, rows);
  }
  void commit_path(SeqId seq, std::span<const int> path) {
    cpu_.kv().commit_path(seq, path);
    cuda_.kv().commit_path(seq, path);
  }

  std::vector<Row> chain(SeqId seq, std::span<const TokenId> tokens) {
    std::vector<Row> rows;
    for (size_t i = 0; i < tokens.size(); ++i) {
      rows.push_back({tokens[i], cpu_.kv().length(seq) + static_cast<int>(i), static_cast<int>(i) - 1, seq});
    }
    return rows;
  }

  // The block on both; expects the same bits.
  void expect_same(const Block& block, const std::string& what) {
    const Floats expected = cpu_.run(block), got = cuda_.run(block);
    ASSERT_FALSE(expected.empty());
    ASSERT_TRUE(same_bits(expected, got)) << what;
  }
  void expect_same(const std::vector<Row>& rows, const std::string& what) {
    const std::vector<Want> want(rows.size(), Want::kLogits);
    expect_same({.rows = rows, .layers = all_layers(), .want = want, .want_hidden = true}, what);
  }
  // Runs and commits tokens in chunks of these lengths, over and over.
  void feed(SeqId seq, std::span<const TokenId> tokens, const std::vector<size_t>& chunks) {
    for (size_t begin = 0, i = 0; begin < tokens.size(); ++i) {
      const auto part = tokens.subspan(begin, std::min(chunks[i % chunks.size()], tokens.size() - begin));
      expect_same(chain(seq, part), "chunk at " + std::to_string(begin));
      commit(seq, isize(part));
      begin += part.size();
    }
  }

 private:
  int layers_;
  Side cpu_, cuda_;
  std::vector<KvSequence> sequences_;
};

}  // namespace s3d::cuda_test
