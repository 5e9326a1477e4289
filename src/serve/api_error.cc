#include "serve/api_error.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace s3d::serve {
namespace {

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

}  // namespace

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

ApiError bad_request(std::string param, std::string message) {
  return {.status = 400, .message = std::move(message), .param = std::move(param), .code = "invalid_value"};
}

ApiError not_supported(std::string message) {
  return {.status = 501, .message = std::move(message), .code = "not_supported"};
}

ApiError model_not_found(std::string_view name) {
  return {.status = 404,
          .message = fmt::format("model '{}' not found; GET /v1/models lists the models of this server", name),
          .param = "model",
          .code = "model_not_found"};
}

ApiError prompt_too_long(std::string param, int prompt_tokens, int context) {
  return {
      .status = 400,
      .message = fmt::format("This model's maximum context length is {} tokens, but the prompt has {} tokens and at "
                             "least one is needed for the answer; shorten the prompt, or start the server with a "
                             "larger context",
                             context, prompt_tokens),
      .param = std::move(param),
      .code = "context_length_exceeded",
      .more = {{"n_prompt_tokens", prompt_tokens}, {"n_ctx", context}}};
}

ApiError from_job_error(const JobError& error) {
  switch (error.kind) {
    case JobError::Kind::kOverloaded:
      return {.status = 503, .message = error.message, .code = "overloaded"};
    case JobError::Kind::kShuttingDown:
      return {.status = 503, .message = error.message, .code = "shutting_down"};
    case JobError::Kind::kRefused:
      return {.status = 400, .message = error.message, .code = "invalid_value"};
    case JobError::Kind::kFailed:
      break;
  }
  return {.status = 500, .message = error.message, .code = "internal_error"};
}

Json error_body(const ApiError& error, Dialect dialect) {
  if (dialect == Dialect::kOllama) return {{"error", error.message}};
  const std::string_view type = error.code == "context_length_exceeded" && dialect == Dialect::kNative
                                    ? "exceed_context_size_error"
                                    : error_type(error.status);
  Json body = {{"message", error.message}, {"type", type}};
  if (dialect == Dialect::kNative) {
    body["code"] = error.status;
    if (!error.param.empty()) body["param"] = error.param;
  } else {
    body["param"] = text_or_null(error.param);
    body["code"] = text_or_null(error.code);
  }
  for (const auto& [key, value] : error.more.items()) body[key] = value;
  return {{"error", std::move(body)}};
}

}  // namespace s3d::serve
