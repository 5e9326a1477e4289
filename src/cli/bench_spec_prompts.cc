#include "cli/bench_spec_prompts.h"

#include <algorithm>
#include <filesystem>

#include "base/index.h"
#include "engine/prompt_file.h"

namespace s3d::cli {
namespace {

// Evenly from the whole of the file when there is a limit.
Result<std::vector<FilePrompt>> read_some(const std::string& path, int limit) {
  S3D_ASSIGN(std::vector<FilePrompt> all, read_prompt_file(path));
  const size_t n = limit > 0 ? std::min(all.size(), usize(limit)) : all.size();
  std::vector<FilePrompt> some;
  for (size_t i = 0; i < n; ++i) some.push_back(std::move(all[i * all.size() / n]));
  return some;
}

Result<std::string> plain_answer(Runtime& runtime, const std::vector<TokenId>& prompt, int max_tokens) {
  const KvSequence seq = runtime.kv().add_sequence();
  S3D_ASSIGN(Answer answer, runtime.answer(seq, prompt, {.generate = {.max_tokens = max_tokens}}));
  return std::move(answer.text);
}

// Appends the prompts of the turns after the first, whose prompt is `first`.
Status add_later_turns(Runtime& runtime, const PromptMaker& maker, const BenchPromptOptions& options,
                       const FilePrompt& line, const BenchPrompt& first, std::vector<BenchPrompt>& out) {
  std::vector<ChatMessage> messages;
  if (options.prompt.system) messages.push_back({.role = "system", .content = *options.prompt.system});
  messages.push_back({.role = "user", .content = line.turns[0]});
  std::vector<TokenId> prompt = first.tokens;
  for (size_t turn = 1; turn < std::min(line.turns.size(), usize(options.turns)); ++turn) {
    S3D_ASSIGN(const std::string answer, plain_answer(runtime, prompt, options.max_tokens));
    messages.push_back({.role = "assistant", .content = answer});
    messages.push_back({.role = "user", .content = line.turns[turn]});
    S3D_ASSIGN(prompt, maker.chat(messages));
    out.push_back({first.category, prompt});
  }
  return Ok();
}

}  // namespace

Result<std::vector<BenchPrompt>> load_bench_prompts(Runtime& runtime, const BenchPromptOptions& options) {
  S3D_ASSIGN(const PromptMaker maker, PromptMaker::create(runtime.tokenizer(), options.prompt));
  if (options.turns > 1) S3D_TRY(maker.check_chat());
  std::vector<BenchPrompt> out;
  for (const std::string& path : options.files) {
    S3D_ASSIGN(const std::vector<FilePrompt> some, read_some(path, options.limit));
    for (const FilePrompt& line : some) {
      S3D_ASSIGN(const std::vector<TokenId> tokens, maker.question(line.turns[0]));
      const BenchPrompt first = {options.files.size() > 1 ? std::filesystem::path(path).stem().string() : line.category,
                                 tokens};
      out.push_back(first);
      S3D_TRY(add_later_turns(runtime, maker, options, line, first, out));
    }
  }
  return out;
}

}  // namespace s3d::cli
