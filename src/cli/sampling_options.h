// --temp, --top-k and their like, under the names that llama.cpp's users know.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "engine/runtime.h"

namespace CLI {
class App;
}

namespace s3d::cli {

struct SamplingOptions {
  AnswerOptions answer;
  std::vector<std::string> logit_bias;
  std::optional<uint64_t> seed;

  void add_to(CLI::App& command, int default_max_tokens);
  Status check();  // also fills `answer` with a fresh seed where none was given
};

// "ID+VALUE", "ID-VALUE" (as llama.cpp) or "ID=VALUE"; VALUE may be inf. Error: anything else.
Result<std::pair<int32_t, float>> parse_logit_bias(const std::string& text);

}  // namespace s3d::cli
