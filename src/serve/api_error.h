// What a client is told when a request cannot be served, in the words of the interface that it speaks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "serve/json.h"
#include "serve/model_service.h"

namespace s3d::serve {

enum class Dialect : uint8_t { kOpenAi, kNative, kOllama };  // native: llama-server's own routes

// Clients of OpenAI's interface branch on `status` and `code`, and show `message`.
struct ApiError {
  int status = 400;
  std::string message;  // names the field, what was expected, what was found
  std::string param;    // the field, as "messages[0].role"; empty: none
  std::string code;     // "context_length_exceeded", "model_not_found", …; empty: none
  Json more = {};       // further members of the error object; null: none
};

// "invalid_request_error", "unavailable_error", …: the `type` of an error with this status.
std::string_view error_type(int status);

ApiError bad_request(std::string param, std::string message);
ApiError not_supported(std::string message);  // 501
ApiError model_not_found(std::string_view name);
ApiError prompt_too_long(std::string param, int prompt_tokens, int context);
ApiError from_job_error(const JobError& error);

// The body of the answer, and the same as an event in the midst of a stream.
Json error_body(const ApiError& error, Dialect dialect);

}  // namespace s3d::serve
