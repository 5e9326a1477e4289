// llama-server's routes about text: /tokenize, /detokenize, /apply-template.
#include <fmt/format.h>

#include <utility>

#include "base/index.h"
#include "serve/messages.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "text/utf8.h"

namespace s3d::serve {
namespace {

// A token with its text, or with its bytes where they are no whole characters.
Json piece_json(const ModelService& model, TokenId id) {
  const std::string bytes = model.piece(id, /*special=*/true);
  if (utf8_valid(bytes)) return {{"id", id}, {"piece", bytes}};
  Json list = Json::array();
  for (const char c : bytes) list.push_back(static_cast<unsigned char>(c));
  return {{"id", id}, {"piece", std::move(list)}};
}

void answer_tokenize(const CallPtr& call, const Json& body, const RequestHead& /*head*/,
                     const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  const std::string content = fields.text("content").value_or("");
  const bool add_special = fields.boolean("add_special").value_or(false);
  const bool parse_special = fields.boolean("parse_special").value_or(true);
  const bool with_pieces = fields.boolean("with_pieces").value_or(false);
  if (fields.error()) return call->send_error(*fields.error());
  Json tokens = Json::array();
  for (const TokenId id : model->tokenize(content, add_special, parse_special)) {
    tokens.push_back(with_pieces ? piece_json(*model, id) : Json(id));
  }
  call->send_json({{"tokens", std::move(tokens)}});
}

void answer_detokenize(const CallPtr& call, const Json& body, const RequestHead& /*head*/,
                       const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  const std::vector<TokenId> tokens = fields.tokens("tokens");
  for (const TokenId id : tokens) {
    if (id >= model->card().vocab_size) fields.fail("tokens", fmt::format("{} is no token of this model", id));
  }
  if (fields.error()) return call->send_error(*fields.error());
  std::string bytes;
  for (const TokenId id : tokens) bytes += model->piece(id, /*special=*/true);
  call->send_json({{"content", utf8_replace_broken(bytes)}});
}

void answer_apply_template(const CallPtr& call, const Json& body, const RequestHead& /*head*/,
                           const std::shared_ptr<ModelService>& model) {
  Fields fields(body);
  const Json messages = read_messages(fields, "messages");
  ChatInput chat;
  chat.variables = read_template_variables(fields);
  if (const Json* tools = fields.array("tools"); tools != nullptr && !tools->empty()) chat.tools = to_text(*tools);
  if (fields.error()) return call->send_error(*fields.error());
  auto prompt = chat_prompt_text(*model, messages, std::move(chat));
  if (!prompt.ok()) return call->send_error(bad_request("messages", prompt.error().message));
  call->send_json({{"prompt", *prompt}});
}

}  // namespace

void handle_tokenize(const CallPtr& call) {
  answer_with_model(call, answer_tokenize);
}

void handle_detokenize(const CallPtr& call) {
  answer_with_model(call, answer_detokenize);
}

void handle_apply_template(const CallPtr& call) {
  answer_with_model(call, answer_apply_template);
}

}  // namespace s3d::serve
