// For tests: one backend with a cache. Several of them are given the same blocks.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "backend/adapter_test_maker.h"
#include "backend/backend.h"

namespace s3d::adapter_test {

class Side {
 public:
  Side(std::unique_ptr<Backend> backend, KvType type, int64_t tokens)
      : backend_(std::move(backend)), kv_(backend_->make_kv_cache(type, tokens).value()) {}

  KvCache& kv() { return kv_; }
  Backend& backend() { return *backend_; }

  // Logits, then hidden states, then taps; a failure of the test and nothing where the pass fails.
  Floats run(const Block& block) {
    const auto out = backend_->run(block, kv_);
    EXPECT_TRUE(out.ok()) << out.error().message;
    if (!out.ok()) return {};
    Floats all(out->logits.begin(), out->logits.end());
    all.insert(all.end(), out->hidden.begin(), out->hidden.end());
    all.insert(all.end(), out->tapped.begin(), out->tapped.end());
    return all;
  }

 private:
  std::unique_ptr<Backend> backend_;
  KvCache kv_;
};

}  // namespace s3d::adapter_test
