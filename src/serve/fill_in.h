// Prompts for models that were trained to fill in what stands between two texts.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "serve/model_service.h"

namespace s3d::serve {

struct FillIn {
  std::string before;
  std::string after;
  std::vector<std::pair<std::string, std::string>> files = {};  // name and text of others of the same project
};

// Prefix, suffix and middle, by the special tokens that the model has for it. Error: it has none.
Result<std::vector<TokenId>> fill_in_prompt(const ModelService& model, const FillIn& fill_in);

}  // namespace s3d::serve
