// The messages of a chat, as all interfaces send them, made fit for a template.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "serve/fields.h"
#include "serve/model_service.h"

namespace s3d::serve {

// The field `name` of `fields`: a list of messages. "developer" becomes "system", "function" becomes "tool"; a content
// that is a list of text parts becomes their text; everything else stays as it is. Errors, in `fields`: no list, an
// empty one, a role that is not known, parts that are no text (images, audio, files).
Json read_messages(Fields& fields, std::string_view name);

// Joins the parts of a content. `where`: its name for messages. Errors are put into `fields`.
std::string content_text(Fields& fields, const Json& content, const std::string& where);

// Variables of the template: "chat_template_kwargs" and "reasoning_effort", each as "KEY=JSON".
std::vector<std::string> read_template_variables(Fields& fields);

// The prompt of a chat as ids. When the last message is the assistant's own, the answer continues it. Errors: what the
// template refuses.
Result<std::vector<TokenId>> chat_prompt(const ModelService& model, const Json& messages, ChatInput chat);

// The same as text, for people.
Result<std::string> chat_prompt_text(const ModelService& model, const Json& messages, ChatInput chat);

}  // namespace s3d::serve
