// s3d chat: a dialogue.
#include <CLI/CLI.hpp>

#include "cli/chat_session.h"
#include "cli/drafting_options.h"
#include "cli/form_options.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/report.h"
#include "cli/sampling_options.h"

namespace s3d::cli {
namespace {

struct ChatCommand {
  ModelOptions model;
  PromptOptions prompt_options;
  SamplingOptions sampling;
  DraftingOptions spec;
  FormOptions form;
  bool no_history = false;
  bool verbose = false;
};

constexpr const char* kChatFooter =
    R"(/help in the dialogue lists its commands. Ctrl-C stops an answer, Ctrl-D leaves. Lines are kept in
$XDG_STATE_HOME/s3d/chat_history (else ~/.local/state). Without a terminal, every line of stdin is a question.

Examples:
  s3d chat -m smollm2-135m
  s3d chat -m model.gguf --system "Answer in one sentence." --temp 0.7
  printf 'Hello\nAnd again?\n' | s3d chat -m model.gguf)";

Status check_chat(ChatCommand& o) {
  S3D_TRY(o.model.check());
  S3D_TRY(o.prompt_options.check());
  S3D_TRY(o.spec.check());
  S3D_TRY(o.form.form());
  return o.sampling.check();
}

Result<int> run_chat(const ChatCommand& o, Console& console) {
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, o.model.load(console));
  Runtime& runtime = *loaded;
  S3D_ASSIGN(PromptMaker prompts, PromptMaker::create(runtime.tokenizer(), o.prompt_options));
  S3D_TRY(prompts.check_chat());
  if (o.verbose) print_setup(runtime, console);
  S3D_ASSIGN(const std::unique_ptr<Speculator> speculator,
             make_speculator(runtime, o.spec.settings, measuring_note(console)));
  const bool interactive = console.stdin_is_terminal() && console.stdout_is_terminal();
  ChatOptions settings{.answer = o.sampling.answer,
                       .system = o.prompt_options.system,
                       .show_spec = o.spec.show,
                       .interactive = interactive,
                       .verbose = o.verbose,
                       .history_path = o.no_history ? "" : chat_history_path()};
  settings.answer.generate.speculator = speculator.get();
  GrammarCompiler grammars(runtime.tokenizer());
  S3D_ASSIGN(const std::optional<AnswerForm> form, o.form.form());
  if (form) settings.new_constraint = [&] { return constrain(grammars, form); };
  ChatSession session(runtime, std::move(prompts), std::move(settings), console);
  S3D_ASSIGN(const int failed, session.run());
  if (interactive) return kExitOk;  // who asks sees what failed
  if (Interrupt::requested()) return kExitInterrupted;
  return failed > 0 ? kExitFailure : kExitOk;
}

}  // namespace

void add_chat(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("chat", "A dialogue with a model")->footer(kChatFooter);
  auto o = std::make_shared<ChatCommand>();
  o->model.model_is_required = false;
  o->model.chooses_model = true;
  o->model.add_to(*command);
  add_template_options(*command, o->prompt_options);
  add_system_option(*command, o->prompt_options);
  o->sampling.add_to(*command, /*default_max_tokens=*/1024);
  o->form.add_to(*command);
  o->spec.add_to(*command);
  o->spec.add_show_to(*command);
  command->add_flag("--no-history", o->no_history, "Keep no file of the lines typed");
  command->add_flag("-v,--verbose", o->verbose, "Figures after every answer");
  on_chosen<ChatCommand>(*command, program, o, check_chat, run_chat);
}

}  // namespace s3d::cli
