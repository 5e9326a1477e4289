// s3d perplexity: how well a model predicts a text.
#include "decode/perplexity.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/index.h"
#include "base/text_file.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/report.h"

namespace s3d::cli {
namespace {

struct PerplexityCommand {
  ModelOptions model;
  std::string file;
  bool ids = false;
  bool json = false;
};

constexpr const char* kPerplexityFooter =
    R"(The text is cut into windows of --context tokens (default 512) that do not overlap; the second half of each
is scored. This is llama-perplexity's definition, so the numbers compare.

Examples:
  s3d perplexity -m smollm2-135m text.txt
  s3d perplexity -m model.gguf text.txt -c 1024 --json)";

Status check_perplexity(PerplexityCommand& o) {
  S3D_TRY(o.model.check());
  if (o.model.runtime.context == 0) o.model.runtime.context = 512;
  return Ok();
}

// Token ids with blanks, line ends, commas or brackets between them.
Result<std::vector<TokenId>> parse_ids(const std::string& text, int vocab) {
  std::vector<TokenId> ids;
  const char* end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    if (std::string_view(" \t\r\n,[]").find(*at) != std::string_view::npos) {
      ++at;
      continue;
    }
    TokenId id = 0;
    const auto [next, status] = std::from_chars(at, end, id);
    if (next == at || id < 0) {
      return Error{fmt::format("expected token ids, blanks, commas and brackets, found {:?} at byte {}",
                               std::string(at, std::min<size_t>(10, usize(end - at))), at - text.data())};
    }
    if (status != std::errc{} || id >= vocab) {
      return Error{fmt::format("token id '{}' is not below the vocabulary's size {}", std::string(at, next), vocab)};
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

Json to_json(const Runtime& runtime, const PerplexityResult& r, size_t n_tokens) {
  return Json{{"model", runtime.file().path()},     {"perplexity", r.perplexity},
              {"standard_error", r.standard_error}, {"tokens", n_tokens},
              {"scored_tokens", r.scored_tokens},   {"windows", r.windows},
              {"window", runtime.context()},        {"threads", runtime.threads()},
              {"isa", runtime.backend().name()},    {"backend", backend_name(runtime.backend_kind())}};
}

Result<int> run_perplexity(const PerplexityCommand& o, Console& console) {
  S3D_ASSIGN(const std::string text, read_text_file(o.file));
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, o.model.load(console));
  Runtime& runtime = *loaded;
  const Tokenizer& tokenizer = runtime.tokenizer();
  auto tokens = o.ids ? parse_ids(text, runtime.config().vocab_size) : runtime.encode(text, /*parse_special=*/false);
  if (!tokens.ok()) return tokens.error().within(o.file);
  const bool wants_bos = !tokenizer.encode("", /*add_bos=*/true, /*parse_special=*/false).empty();

  const Interrupt interrupt;
  PerplexityOptions options{.window = runtime.context(), .bos = wants_bos ? tokenizer.bos() : -1, .progress = {}};
  options.progress = [&](const PerplexityResult& so_far, int total) {
    if (console.stderr_is_terminal()) {
      console.note(fmt::format("window {} of {}: {:.4f}", so_far.windows, total, so_far.perplexity));
    }
    return !Interrupt::requested();
  };
  const auto result = perplexity(runtime.backend(), runtime.kv(), *tokens, options);
  if (Interrupt::requested()) return kExitInterrupted;
  if (!result.ok()) return result.error().within(o.file);
  if (o.json) {
    console.text(json_text(to_json(runtime, *result, tokens->size())));
  } else {
    console.text(fmt::format("perplexity {:.4f} ± {:.4f} ({} of {} tokens scored, {} windows of {})\n",
                             result->perplexity, result->standard_error, result->scored_tokens, tokens->size(),
                             result->windows, runtime.context()));
  }
  return kExitOk;
}

}  // namespace

void add_perplexity(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("perplexity", "How well a model predicts a text")->footer(kPerplexityFooter);
  auto o = std::make_shared<PerplexityCommand>();
  o->model.add_to(*command, "512");
  command->add_option("file", o->file, "The text; -: standard input")->required()->type_name("FILE");
  command->add_flag("--ids", o->ids, "FILE holds token ids, not text");
  command->add_flag("--json", o->json, "One JSON object");
  on_chosen<PerplexityCommand>(*command, program, o, check_perplexity, run_perplexity);
}

}  // namespace s3d::cli
