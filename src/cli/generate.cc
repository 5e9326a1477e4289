// s3d generate: one prompt, one answer.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

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

struct GenerateCommand {
  ModelOptions model;
  TextSource prompt;
  PromptOptions prompt_options;
  SamplingOptions sampling;
  DraftingOptions spec;
  FormOptions form;
  bool json = false;
  bool verbose = false;
  bool compare = false;
};

constexpr const char* kGenerateFooter =
    R"(If the model has a chat template, the prompt becomes the user's turn of a dialogue (--raw: never).
The answer goes to stdout, figures about the run to stderr.

Examples:
  s3d generate -m smollm2-135m -p "Why is the sky blue?"
  s3d generate -m model.gguf -f question.txt -n 200 --temp 0.7 --top-p 0.9 --seed 1
  git diff | s3d generate -m model.gguf --system "Write a commit message."
  s3d generate -m model.gguf --raw -p "def fibonacci(n):" --stop "def "
  s3d generate -m model.gguf -p "Name a city." --json-schema '{"properties": {"city": {"type": "string"}}}'
  s3d generate -m model.gguf -p "Hello" --json | jq .decode_tps)";

Status check_generate(GenerateCommand& o) {
  if (o.compare && o.spec.settings.drafter == "off") return Error{"--compare needs drafts: leave out --spec off"};
  S3D_TRY(o.model.check());
  S3D_TRY(o.prompt_options.check());
  S3D_TRY(o.spec.check());
  S3D_TRY(o.form.form());
  return o.sampling.check();
}

Json to_json(const Runtime& runtime, const GenerateCommand& o, const Answer& answer, const RunFigures& figures) {
  const Generation& g = answer.generation;
  return Json{{"model", runtime.file().path()},
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
              {"threads", runtime.threads()},
              {"backend", backend_name(runtime.backend_kind())},
              {"isa", runtime.backend().name()},
              {"file_bytes", runtime.memory().file},
              {"kv_bytes", runtime.memory().kv},
              {"peak_rss", figures.peak_rss}};
}

// One answer, shown as it is made unless JSON is wanted.
Result<Answer> answer_once(Runtime& runtime, const GenerateCommand& o, std::span<const TokenId> prompt,
                           Speculator* speculator, const Console& console) {
  AnswerOptions options = o.sampling.answer;
  options.generate.cancelled = Interrupt::requested;
  options.generate.speculator = speculator;
  GrammarCompiler grammars(runtime.tokenizer());
  S3D_ASSIGN(const std::optional<AnswerForm> form, o.form.form());
  S3D_ASSIGN(options.generate.constraint, constrain(grammars, form));
  const auto show = [&](std::string_view part, bool drafted) {
    if (!o.json) console.foreign_text(part, o.spec.show && drafted ? Style::kDrafted : Style::kPlain);
  };
  const KvSequence seq = runtime.kv().add_sequence();
  auto answer = runtime.answer(seq, prompt, options, show);
  const bool ends_line = answer.ok() && !answer->text.empty() && answer->text.back() == '\n';
  if (!o.json && answer.ok() && !ends_line) console.text("\n");
  return answer;
}

void print_closing(const Answer& answer, const RunFigures& figures, const Console& console) {
  console.note(closing_line(answer.generation, figures));
  if (const std::string line = spec_line(answer.generation.spec); !line.empty()) console.note(line);
}

// --compare: the same answer by plain decoding, and what speculation gained.
Status compare(Runtime& runtime, const GenerateCommand& o, std::span<const TokenId> prompt, const Answer& drafted,
               const Speculator* speculator, const Console& console) {
  if (speculator == nullptr)
    return Error{"--compare needs drafts: the reference makes none unless --spec names a drafter"};
  console.note("\nThe same without speculation:");
  S3D_ASSIGN(const Answer plain, answer_once(runtime, o, prompt, nullptr, console));
  print_closing(plain, measure_run(runtime, plain.generation.timings, o.verbose), console);
  const bool same = plain.generation.tokens == drafted.generation.tokens;
  if (same && drafted.generation.timings.decoded_tokens == 0) {
    console.note("\nspeculation: nothing to compare, the first token comes from the prompt's pass");
    return Ok();
  }
  const double ratio = plain.generation.timings.decode_seconds / drafted.generation.timings.decode_seconds;
  const double rounds = static_cast<double>(std::max<int64_t>(1, drafted.generation.spec.num_rounds));
  console.note(fmt::format("\nspeculation: {:.2f} times plain decoding, {:.2f} tokens a round, {} more memory, {}",
                           ratio, drafted.generation.timings.decoded_tokens / rounds,
                           mebibytes(speculator->extra_bytes()), same ? "the same tokens" : "DIFFERENT TOKENS"));
  if (same || Interrupt::requested()) return Ok();
  return Error{"speculation changed the text: this is a bug of S3D, please report it with the command line"};
}

Result<int> run_generate(const GenerateCommand& o, Console& console) {
  S3D_ASSIGN(const std::string text, o.prompt.read(console));
  S3D_ASSIGN(const std::unique_ptr<Runtime> loaded, o.model.load(console));
  Runtime& runtime = *loaded;
  S3D_ASSIGN(const PromptMaker maker, PromptMaker::create(runtime.tokenizer(), o.prompt_options));
  S3D_ASSIGN(const std::vector<TokenId> prompt, maker.question(text));
  S3D_ASSIGN(const std::unique_ptr<Speculator> speculator,
             make_speculator(runtime, o.spec.settings, measuring_note(console)));
  if (o.verbose) print_setup(runtime, console);

  const Interrupt interrupt;
  S3D_ASSIGN(const Answer answer, answer_once(runtime, o, prompt, speculator.get(), console));
  const RunFigures figures = measure_run(runtime, answer.generation.timings, o.verbose || o.json);
  if (o.json) console.text(json_text(to_json(runtime, o, answer, figures)));
  print_closing(answer, figures, console);
  if (o.verbose) {
    print_memory(runtime, peak_resident_bytes(), console);
    console.note(fmt::format("finish: {}, seed: {}", finish_reason_name(answer.generation.reason),
                             o.sampling.answer.generate.sampler.seed));
  }
  if (answer.generation.reason == FinishReason::kCancelled) return kExitInterrupted;
  if (o.compare) S3D_TRY(compare(runtime, o, prompt, answer, speculator.get(), console));
  return kExitOk;
}

}  // namespace

void add_generate(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("generate", "Answer one prompt")->footer(kGenerateFooter);
  auto o = std::make_shared<GenerateCommand>();
  o->model.model_is_required = false;
  o->model.chooses_model = true;
  o->model.add_to(*command);
  o->prompt.add_to(*command);
  add_template_options(*command, o->prompt_options);
  add_system_option(*command, o->prompt_options);
  add_raw_option(*command, o->prompt_options);
  o->sampling.add_to(*command, /*default_max_tokens=*/256);
  o->form.add_to(*command);
  o->spec.add_to(*command);
  o->spec.add_show_to(*command);
  command->add_flag("--compare", o->compare, "Answer again without speculation, and tell what it gained")
      ->excludes(command->add_flag("--json", o->json, "One JSON object instead of live text"));
  command->add_flag("-v,--verbose", o->verbose, "More figures: memory by purpose, seed, why the answer ended");
  on_chosen<GenerateCommand>(*command, program, o, check_generate, run_generate);
}

}  // namespace s3d::cli
