#include "serve/prompts.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/index.h"

namespace s3d::serve {
namespace {

// One prompt: a text, or ids.
std::vector<TokenId> read_prompt(Fields& fields, const Json& prompt, const std::string& where,
                                 const ModelService& model) {
  if (prompt.is_string()) return model.tokenize(prompt.get_ref<const std::string&>(), true, true);
  Json holder = {{"prompt", prompt}};
  Fields own(holder);
  std::vector<TokenId> ids = own.tokens("prompt");
  if (own.error()) {
    fields.fail(where, "expected a text or a list of token ids");
    return {};
  }
  for (const TokenId id : ids) {
    if (id >= model.card().vocab_size) fields.fail(where, fmt::format("{} is no token of this model", id));
  }
  return ids;
}

}  // namespace

std::vector<std::vector<TokenId>> read_prompts(Fields& fields, std::string_view name, const ModelService& model,
                                               int most) {
  const Json* prompt = fields.find(name);
  if (prompt == nullptr) {
    fields.fail(name, "expected a text, a list of texts, or token ids");
    return {};
  }
  const std::string where(name);
  const bool several = prompt->is_array() && !prompt->empty() && !(*prompt)[0].is_number();
  if (!several) return {read_prompt(fields, *prompt, where, model)};
  if (isize(*prompt) > most) fields.fail(name, fmt::format("at most {} of them in one request", most));
  std::vector<std::vector<TokenId>> prompts;
  for (int i = 0; i < isize(*prompt) && fields.ok(); ++i) {
    prompts.push_back(read_prompt(fields, (*prompt)[usize(i)], fmt::format("{}[{}]", name, i), model));
  }
  return prompts;
}

}  // namespace s3d::serve
