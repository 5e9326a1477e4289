#include "serve/fill_in.h"

#include <array>
#include <string_view>

namespace s3d::serve {
namespace {

// As the vocabularies of the models have them; -1 in TokenSet: absent.
struct Marks {
  std::string_view prefix, suffix, middle, file;
};
constexpr std::array kMarks = std::to_array<Marks>({
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"},  // Qwen coder, CodeGemma
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>"},          // StarCoder, SmolLM, Granite
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", ""},              // DeepSeek coder
    {"▁<PRE>", "▁<SUF>", "▁<MID>", ""},                                      // CodeLlama
});

struct TokenSet {
  TokenId prefix, suffix, middle, file;
};

TokenSet find_marks(const ModelService& model) {
  for (const Marks& marks : kMarks) {
    const TokenSet found{model.find(marks.prefix), model.find(marks.suffix), model.find(marks.middle),
                         marks.file.empty() ? -1 : model.find(marks.file)};
    if (found.prefix >= 0 && found.suffix >= 0 && found.middle >= 0) return found;
  }
  return {-1, -1, -1, -1};
}

void append(std::vector<TokenId>& to, const std::vector<TokenId>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

Result<std::vector<TokenId>> fill_in_prompt(const ModelService& model, const FillIn& fill_in) {
  const TokenSet marks = find_marks(model);
  if (marks.prefix < 0) return Error{"this model has no tokens for filling in (FIM); take a coder model that has"};
  std::vector<TokenId> prompt = model.tokenize("", /*add_special=*/true, /*parse_special=*/false);  // BOS, if wanted
  if (marks.file >= 0) {
    for (const auto& [name, text] : fill_in.files) {
      prompt.push_back(marks.file);
      append(prompt, model.tokenize(name + "\n" + text, false, false));
    }
    if (!fill_in.files.empty()) prompt.push_back(marks.file);
  }
  prompt.push_back(marks.prefix);
  append(prompt, model.tokenize(fill_in.before, false, false));
  prompt.push_back(marks.suffix);
  append(prompt, model.tokenize(fill_in.after, false, false));
  prompt.push_back(marks.middle);
  return prompt;
}

}  // namespace s3d::serve
