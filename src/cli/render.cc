// s3d render: the prompt that a model gets for a chat.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/text_file.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "engine/chat_json.h"
#include "engine/model_path.h"
#include "engine/prompt.h"
#include "file/gguf.h"

namespace s3d::cli {
namespace {

struct RenderCommand {
  ModelOptions model;
  PromptOptions prompt_options;
  std::string messages, tools, template_file;
  bool no_generation_prompt = false;
  bool ids = false;
};

constexpr const char* kRenderFooter =
    R"(Prints the prompt and nothing else. MESSAGES is a file with the array "messages" of OpenAI's API.

Examples:
  echo '[{"role": "user", "content": "Hi"}]' | s3d render -m smollm2-135m --messages -
  s3d render -m model.gguf --messages chat.json --tools tools.json --template-arg enable_thinking=false
  s3d render -m model.gguf --messages chat.json --ids)";

Status check_render(RenderCommand& o) {
  return o.prompt_options.check();
}

Result<ChatContext> read_chat(const RenderCommand& o) {
  std::string tools;
  S3D_ASSIGN(const std::string messages, read_text_file(o.messages));
  if (!o.tools.empty()) {
    S3D_ASSIGN(tools, read_text_file(o.tools));
  }
  return parse_chat({.messages = messages, .tools = tools, .add_generation_prompt = !o.no_generation_prompt});
}

Result<int> run_render(const RenderCommand& o, Console& console) {
  S3D_ASSIGN(const ChatContext chat, read_chat(o));
  S3D_ASSIGN(const std::string path, find_model(o.model.runtime.model));
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  S3D_ASSIGN(const Tokenizer tokenizer, Tokenizer::load(file));
  PromptOptions options = o.prompt_options;
  if (!o.template_file.empty()) {
    S3D_ASSIGN(options.template_source, read_text_file(o.template_file));
  }
  S3D_ASSIGN(const PromptMaker maker, PromptMaker::create(tokenizer, options));
  S3D_ASSIGN(const ChatPrompt prompt, maker.render(chat));
  console.foreign_text(o.ids ? fmt::format("[{}]\n", fmt::join(maker.ids(prompt), ", ")) : prompt.text);
  return kExitOk;
}

}  // namespace

void add_render(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("render", "Print the prompt of a chat")->footer(kRenderFooter);
  auto o = std::make_shared<RenderCommand>();
  o->model.add_model_to(*command);
  add_template_options(*command, o->prompt_options);
  command->add_option("--messages", o->messages, "JSON file with the messages; -: standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("--tools", o->tools, "JSON file with the tools that the model may call")->type_name("FILE");
  command->add_option("--template", o->template_file, "A Jinja template instead of the file's own")->type_name("FILE");
  command->add_flag("--no-generation-prompt", o->no_generation_prompt, "End before the answer's beginning");
  command->add_flag("--ids", o->ids, "Token ids instead of the text, as a JSON array");
  on_chosen<RenderCommand>(*command, program, o, check_render, run_render);
}

}  // namespace s3d::cli
