// s3d generate: one prompt, one answer.
#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "cli/report.h"
#include "cli/sampling_options.h"
#include "cli/spec_options.h"

namespace s3d::cli {
namespace {

struct Options {
  ModelOptions model;
  TextSource prompt;
  TemplateOptions chat_template;
  SamplingOptions sampling;
  SpecOptions spec;
  bool raw = false;
  bool json = false;
  bool verbose = false;
};

constexpr const char* kFooter = R"(The prompt is dressed by the model's chat template when it has one (--raw: never).
The answer goes to stdout, figures about the run to stderr.

Examples:
  s3d generate -m smollm2-135m -p "Why is the sky blue?"
  s3d generate -m model.gguf -f question.txt -n 200 --temp 0.7 --top-p 0.9 --seed 1
  git diff | s3d generate -m model.gguf --system "Write a commit message."
  s3d generate -m model.gguf --raw -p "def fibonacci(n):" --stop "def "
  s3d generate -m model.gguf -p "Hello" --json | jq .decode_tps)";

Status check(Options& o) {
  if (o.raw && (!o.chat_template.name.empty() || !o.chat_template.system.empty())) {
    return Error{"--raw uses no chat template: leave out --chat-template and --system"};
  }
  S3D_TRY(o.model.check());
  S3D_TRY(o.chat_template.check());
  S3D_TRY(o.spec.check());
  return o.sampling.check();
}

Result<std::vector<TokenId>> make_prompt(const Options& o, const Engine& engine, const std::string& text) {
  const bool no_template = engine.tokenizer().chat_template().empty() && o.chat_template.name.empty();
  if (o.raw || no_template) {
    if (!o.chat_template.system.empty()) {
      return Error{"the model has no chat template, so --system has no place: name one with --chat-template"};
    }
    return engine.encode(text);
  }
  S3D_ASSIGN(const ChatTemplate chat_template, o.chat_template.create(engine.tokenizer()));
  std::vector<ChatMessage> messages;
  if (!o.chat_template.system.empty()) messages.push_back({.role = "system", .content = o.chat_template.system});
  messages.push_back({.role = "user", .content = text});
  return engine.encode_chat(chat_template, messages);
}

Json to_json(const Engine& engine, const Options& o, const Answer& answer, const RunFigures& figures) {
  const Generation& g = answer.generation;
  return Json{{"model", engine.file().path()},
              {"text", answer.text},
              {"tokens", g.tokens},
              {"finish_reason", finish_reason_name(g.reason)},
              {"prompt_tokens", g.timings.prompt_tokens},
              {"prefill_tps", g.timings.prefill_tps()},
              {"decode_tps", g.timings.decode_tps()},
              {"speculative_decoding", spec_json(g.spec)},
              {"weight_gbps", figures.weight_gbps},
              {"read_gbps", figures.read_gbps},
              {"seed", o.sampling.answer.generate.sampler.seed},
              {"threads", engine.threads()},
              {"isa", engine.backend().isa()},
              {"file_bytes", engine.memory().file},
              {"kv_bytes", engine.memory().kv},
              {"peak_rss", figures.peak_rss}};
}

Result<int> run(const Options& o, Console& console) {
  S3D_ASSIGN(const std::string text, o.prompt.read(console));
  S3D_ASSIGN(Engine engine, o.model.load(console));
  S3D_ASSIGN(const std::vector<TokenId> prompt, make_prompt(o, engine, text));
  if (o.verbose) print_setup(engine, console);

  const Interrupt interrupt;
  AnswerOptions options = o.sampling.answer;
  options.generate.cancelled = Interrupt::requested;
  S3D_ASSIGN(const std::unique_ptr<Speculator> speculator, make_speculator(engine, o.spec.settings));
  options.generate.speculator = speculator.get();
  const auto show = [&](std::string_view part, bool drafted) {
    if (!o.json) console.text(o.spec.show && drafted ? console.styled_out(Style::kDrafted, part) : std::string(part));
  };
  S3D_ASSIGN(const Answer answer, engine.answer(engine.kv().add_sequence(), prompt, options, show));
  const bool ends_line = !answer.text.empty() && answer.text.back() == '\n';
  if (!o.json && !ends_line) console.text("\n");

  const RunFigures figures = measure_run(engine, answer.generation.timings);
  if (o.json) console.text(json_text(to_json(engine, o, answer, figures)));
  console.note(closing_line(answer.generation, figures));
  if (const std::string line = spec_line(answer.generation.spec); !line.empty()) console.note(line);
  if (o.verbose) {
    print_memory(engine, figures.peak_rss, console);
    console.note(fmt::format("finish: {}, seed: {}", finish_reason_name(answer.generation.reason),
                             options.generate.sampler.seed));
  }
  return answer.generation.reason == FinishReason::kCancelled ? kExitInterrupted : kExitOk;
}

}  // namespace

void add_generate(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("generate", "Answer one prompt")->footer(kFooter);
  auto o = std::make_shared<Options>();
  o->model.add_to(*command);
  o->prompt.add_to(*command);
  o->chat_template.add_to(*command);
  command->add_flag("--raw", o->raw, "No chat template: the text is the prompt");
  o->sampling.add_to(*command, /*default_max_tokens=*/256);
  o->spec.add_to(*command);
  o->spec.add_show_to(*command);
  command->add_flag("--json", o->json, "One JSON object instead of live text");
  command->add_flag("-v,--verbose", o->verbose, "More figures: memory by purpose, seed, why the answer ended");
  on_chosen<Options>(*command, program, o, check, run);
}

}  // namespace s3d::cli
