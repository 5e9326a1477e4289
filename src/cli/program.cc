#include "cli/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>

#include "cli/serve_options.h"

namespace s3d::cli {
namespace {

constexpr const char* kProgramFooter = R"(Examples:
  s3d generate -m model.gguf -p "Why is the sky blue?"
  s3d chat -m smollm2-135m
  s3d serve -m smollm2-135m
  s3d bench -m model.gguf --json
  s3d inspect model.gguf
  s3d completion bash > ~/.local/share/bash-completion/completions/s3d

Exit codes: 0 success, 1 failure, 2 wrong command line, 130 interrupted by Ctrl-C.)";

// Help and version are CLI11 "errors" too: they print and end well.
int report_parse_end(const CLI::App& app, const CLI::ParseError& end, Program& program) {
  if (end.get_exit_code() == 0) return app.exit(end);
  program.console.set_color(program.color);
  const auto chosen = app.get_subcommands();
  const std::vector<std::string> unknown = app.remaining();
  const bool no_such_command = chosen.empty() && !unknown.empty();
  std::string message = no_such_command ? fmt::format("no command '{}'", unknown.front()) : end.what();
  if (dynamic_cast<const CLI::ConversionError*>(&end) != nullptr) message += ": expected a number in its range";
  program.console.error(message);
  std::string path;
  for (auto level = chosen; !level.empty(); level = level.front()->get_subcommands())
    path += level.front()->get_name() + " ";
  fmt::print(stderr, "Try 's3d {}--help'.\n", path);
  return kExitUsage;
}

// The parser would read 0.
void refuse_empty_numbers(CLI::App& app) {
  const auto problem = [](std::string& text) -> std::string { return text.empty() ? "expected a number, got ''" : ""; };
  for (CLI::Option* option : app.get_options(nullptr)) {
    const std::string type = option->get_type_name();
    if (type == "N" || type == "X") option->check(CLI::Validator(problem, ""));
  }
  for (CLI::App* command : app.get_subcommands(nullptr)) refuse_empty_numbers(*command);
}

}  // namespace

void on_chosen(CLI::App& command, Program& program, std::function<Status()> check, Action action) {
  command.callback([&command, &program, check = std::move(check), action = std::move(action)] {
    if (!command.get_subcommands().empty()) return;  // a subcommand of it was chosen
    const Status checked = check();
    if (!checked.ok()) throw CLI::ValidationError(checked.error().message);
    program.action = action;
  });
}

std::unique_ptr<CLI::App> make_app(Program& program) {
  auto app = std::make_unique<CLI::App>("Runs language models from GGUF files on the CPU.", "s3d");
  app->set_version_flag("--version", "s3d " S3D_VERSION, "Print the version and exit");
  app->set_help_flag("-h,--help", "Print this help and exit");
  app->require_subcommand(0, 1);
  app->fallthrough();
  app->get_formatter()->column_width(34);
  const auto set_color = [&program](const std::string& name) {
    const std::map<std::string, ColorMode> colors = {
        {"auto", ColorMode::kAuto}, {"never", ColorMode::kNever}, {"always", ColorMode::kAlways}};
    const auto found = colors.find(name);
    if (found == colors.end()) {
      throw CLI::ValidationError(fmt::format("--color must be auto, never or always, got '{}'", name));
    }
    program.color = found->second;
  };
  app->add_option_function<std::string>("--color", set_color, "Colours (auto: on a terminal, unless NO_COLOR is set)")
      ->type_name("auto|never|always");
  app->add_flag("-q,--quiet", program.quiet, "Nothing on stderr but errors");
  app->footer(kProgramFooter);
  add_generate(*app, program);
  add_chat(*app, program);
  add_bench(*app, program);
  add_tune(*app, program);
  add_perplexity(*app, program);
  add_render(*app, program);
  add_tokenize(*app, program);
  add_inspect(*app, program);
  add_pull(*app, program);
  add_serve(*app, program);
  add_completion(*app, program);
  for (CLI::App* command : app->get_subcommands({})) command->fallthrough();
  refuse_empty_numbers(*app);
  return app;
}

namespace {

// A shell makes "--system=" of "--system=$UNSET". The parser would take the next word for the value; it is the empty
// one.
std::vector<std::string> with_empty_values(int argc, char** argv) {
  std::vector<std::string> out;
  bool options = true;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    options = options && word != "--";
    const bool empty_value = options && word.size() > 3 && word.starts_with("--") && word.find('=') == word.size() - 1;
    out.emplace_back(empty_value ? word.substr(0, word.size() - 1) : word);
    if (empty_value) out.emplace_back();
  }
  return out;
}

void parse(CLI::App& app, int argc, char** argv) {
  std::vector<std::string> words = with_empty_values(argc, argv);
  if (std::find(words.begin(), words.end(), "serve") != words.end()) words = with_long_names(std::move(words));
  std::vector<const char*> pointers;
  for (const std::string& word : words) pointers.push_back(word.c_str());
  app.parse(static_cast<int>(pointers.size()), pointers.data());
}

int parse_and_run(int argc, char** argv, Program& program) {
  const auto app = make_app(program);
  try {
    parse(*app, argc, argv);
  } catch (const CLI::ParseError& end) {
    return report_parse_end(*app, end, program);
  }
  program.console.set_color(program.color);
  program.console.set_quiet(program.quiet);
  if (!program.action) {  // no command: the help
    program.console.text(app->help());
    return kExitOk;
  }
  const Result<int> code = program.action(program.console);
  if (code.ok()) return *code;
  std::fflush(stdout);
  program.console.error(code.error().message);
  return kExitFailure;
}

}  // namespace

int run_program(int argc, char** argv) {
  Program program;
  const int code = parse_and_run(argc, argv, program);
  const Status written = program.console.finish();
  if (written.ok() || code == kExitUsage) return code;
  program.console.error(written.error().message);
  return kExitFailure;
}

}  // namespace s3d::cli
