// s3d completion: completion scripts for shells.
#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "cli/shell_completion.h"

namespace s3d::cli {
namespace {

struct CompletionCommand {
  std::string shell;
};

constexpr const char* kCompletionFooter = R"(Examples:
  s3d completion bash > ~/.local/share/bash-completion/completions/s3d
  s3d completion zsh > "${fpath[1]}/_s3d"
  s3d completion fish > ~/.config/fish/completions/s3d.fish)";

Status check_completion(CompletionCommand& o) {
  S3D_TRY(completion_script(o.shell));
  return Ok();
}

Result<int> run_completion(const CompletionCommand& o, Console& console) {
  S3D_ASSIGN(const std::string script, completion_script(o.shell));
  console.text(script);
  return kExitOk;
}

}  // namespace

void add_completion(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("completion", "A completion script for a shell")->footer(kCompletionFooter);
  auto o = std::make_shared<CompletionCommand>();
  command->add_option("shell", o->shell, "bash, zsh or fish")->required()->type_name("bash|zsh|fish");
  on_chosen<CompletionCommand>(*command, program, o, check_completion, run_completion);
}

}  // namespace s3d::cli
