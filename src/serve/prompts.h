// Prompts that are texts or token ids, as OpenAI's older routes take them.
#pragma once

#include <string_view>
#include <vector>

#include "serve/fields.h"
#include "serve/model_service.h"

namespace s3d::serve {

// The field `name`: one prompt or a list of at most `most`, each a text or a list of token ids; a list of numbers is
// one prompt. Errors, in `fields`: something else, ids that are no tokens of the model.
std::vector<std::vector<TokenId>> read_prompts(Fields& fields, std::string_view name, const ModelService& model,
                                               int most);

}  // namespace s3d::serve
