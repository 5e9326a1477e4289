// --temp, --top-k and their like for s3d serve: they count where a request does not say.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "serve/model_card.h"

namespace CLI {
class App;
}

namespace s3d::cli {

struct AnswerDefaultOptions {
  serve::AnswerDefaults defaults;
  std::optional<int64_t> seed;  // negative: a new one for each request, as llama-server has it

  void add_to(CLI::App& command);
  Status check();  // also fills the seed of `defaults`
};

}  // namespace s3d::cli
