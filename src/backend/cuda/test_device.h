// The device that tests run on: the emulated one or, with S3D_CUDA_TEST_DEVICE=card in the environment, a card
// (scripts/gpu-check).
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "backend/cuda/device.h"

namespace s3d::cuda {

// `seed`, `turing` and `watches` as of make_emulated_device; a card does what it does.
inline std::unique_ptr<Device> make_test_device(uint64_t seed = 1, bool turing = false, bool watches = false) {
  const char* wanted = std::getenv("S3D_CUDA_TEST_DEVICE");
  if (wanted == nullptr || std::string_view(wanted) != "card") {
    return make_emulated_device(seed, turing, watches);
  }
  auto opened = open_device();
  EXPECT_TRUE(opened.ok()) << opened.error().message;
  return std::move(opened).value();
}

}  // namespace s3d::cuda
