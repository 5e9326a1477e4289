// s3d render: the prompt that a model gets for a chat.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "base/text_file.h"
#include "cli/model_options.h"
#include "cli/program.h"
#include "cli/prompt_options.h"
#include "engine/model_path.h"
#include "engine/prompt.h"
#include "engine/runtime.h"
#include "file/gguf.h"

namespace s3d::cli {
namespace {

struct RenderCommand {
  ModelOptions model;
  TemplateOptions chat_template;
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
  return o.chat_template.check();
}

Result<ChatContext> read_context(const RenderCommand& o) {
  ChatContext context{.messages = {}, .tools = {}, .add_generation_prompt = !o.no_generation_prompt};
  S3D_ASSIGN(const std::string messages, read_text_file(o.messages));
  S3D_ASSIGN(context.messages, parse_messages(messages));
  if (o.tools.empty()) return context;
  S3D_ASSIGN(const std::string tools, read_text_file(o.tools));
  S3D_ASSIGN(context.tools, parse_tools(tools));
  return context;
}

Result<int> run_render(const RenderCommand& o, Console& console) {
  S3D_ASSIGN(const ChatContext context, read_context(o));
  S3D_ASSIGN(const std::string path, find_model(o.model.runtime.model));
  S3D_ASSIGN(const GgufFile file, GgufFile::open(path));
  S3D_ASSIGN(const Tokenizer tokenizer, Tokenizer::load(file));
  PromptOptions options = o.chat_template.prompt;
  if (!o.template_file.empty()) {
    S3D_ASSIGN(options.template_source, read_text_file(o.template_file));
  }
  S3D_ASSIGN(const ChatTemplate chat_template, make_chat_template(tokenizer, options));
  S3D_ASSIGN(const ChatPrompt prompt, chat_template.render(context));
  console.foreign_text(o.ids ? fmt::format("[{}]\n", fmt::join(tokenizer.encode_chat(prompt), ", ")) : prompt.text);
  return kExitOk;
}

}  // namespace

void add_render(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("render", "Print the prompt of a chat")->footer(kRenderFooter);
  auto o = std::make_shared<RenderCommand>();
  o->model.add_model_to(*command);
  o->chat_template.add_template_to(*command);
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
