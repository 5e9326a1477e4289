// s3d tokenize: text as token ids.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/report.h"
#include "engine/model_path.h"

namespace s3d::cli {
namespace {

struct TokenizeCommand {
  ModelOptions model;
  TextSource text;
  bool ids = false;
  bool no_bos = false;
  bool no_special = false;
  bool json = false;
};

constexpr const char* kTokenizeFooter = R"(Only the tokenizer is read from the file, not the weights.

Examples:
  s3d tokenize -m smollm2-135m -p "Hello, world"
  s3d tokenize -m model.gguf -f text.txt --ids | wc -w)";

Result<int> run_tokenize(const TokenizeCommand& o, Console& console) {
  S3D_ASSIGN(const std::string text, o.text.read(console));
  S3D_ASSIGN(const std::string path, find_model(o.model.runtime.model));
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  S3D_ASSIGN(const Tokenizer tokenizer, Tokenizer::load(file));
  for (const std::string& warning : tokenizer.warnings()) console.warning(warning);
  const std::vector<TokenId> ids = tokenizer.encode(text, !o.no_bos, !o.no_special);
  std::vector<std::string> pieces;
  for (TokenId id : ids) pieces.push_back(tokenizer.piece(id, /*show_special=*/true));
  if (o.json) {
    console.text(json_text({{"tokens", ids}, {"pieces", pieces}, {"count", ids.size()}}));
  } else if (o.ids) {
    console.text(fmt::format("{}\n", fmt::join(ids, " ")));
  } else {
    std::string lines;
    for (size_t i = 0; i < ids.size(); ++i) lines += fmt::format("{:>7} {}\n", ids[i], "'" + visible(pieces[i]) + "'");
    console.text(lines);
  }
  return kExitOk;
}

}  // namespace

void add_tokenize(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("tokenize", "Text as token ids")->footer(kTokenizeFooter);
  auto o = std::make_shared<TokenizeCommand>();
  o->model.add_model_to(*command);
  o->text.add_to(*command);
  command->add_flag("--ids", o->ids, "Only the ids, on one line");
  command->add_flag("--no-bos", o->no_bos, "No token for the beginning of a text");
  command->add_flag("--no-special", o->no_special, "Special tokens written in the text are plain text");
  command->add_flag("--json", o->json, "One JSON object");
  on_chosen<TokenizeCommand>(
      *command, program, o, [](TokenizeCommand&) { return Ok(); }, run_tokenize);
}

}  // namespace s3d::cli
