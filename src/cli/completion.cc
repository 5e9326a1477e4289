// s3d completion: completion scripts for shells.
#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "cli/shell_completion.h"

namespace s3d::cli {
namespace {

struct Options {
  std::string shell;
};

constexpr const char* kFooter = R"(Examples:
  s3d completion bash > ~/.local/share/bash-completion/completions/s3d
  s3d completion zsh > "${fpath[1]}/_s3d"
  s3d completion fish > ~/.config/fish/completions/s3d.fish)";

Status check(Options& o) {
  S3D_TRY(completion_script(o.shell));
  return Ok();
}

Result<int> run(const Options& o, Console& console) {
  S3D_ASSIGN(const std::string script, completion_script(o.shell));
  console.text(script);
  return kExitOk;
}

}  // namespace

void add_completion(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("completion", "A completion script for a shell")->footer(kFooter);
  auto o = std::make_shared<Options>();
  command->add_option("shell", o->shell, "bash, zsh or fish")->required()->type_name("bash|zsh|fish");
  on_chosen<Options>(*command, program, o, check, run);
}

}  // namespace s3d::cli
