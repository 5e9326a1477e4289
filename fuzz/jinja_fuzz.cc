// Fuzz entry: any bytes as a chat template, rendered with a conversation whose texts must stay data. What lies behind
// the first zero byte, if there is one, is what the user said.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "jinja/template.h"

namespace {

using s3d::jinja::Rendered;
using s3d::jinja::RenderOptions;
using s3d::jinja::Template;
using s3d::jinja::Value;

Value message(const char* role, std::string content) {
  return Value::dict({{"role", Value::text(role)}, {"content", Value::text(std::move(content))}});
}

Value conversation(std::string said) {
  const Value function =
      Value::dict({{"name", Value::text("f")}, {"arguments", Value::dict({{"x", Value::number(1.5)}})}});
  const Value call = Value::dict({{"function", function}, {"id", Value::text("abc123def")}});
  const Value answer = Value::dict(
      {{"role", Value::text("assistant")}, {"content", Value::none()}, {"tool_calls", Value::list({call})}});
  return Value::dict({{"messages", Value::list({message("system", "S"), message("user", std::move(said)), answer})},
                      {"tools", Value::list({function})},
                      {"add_generation_prompt", Value::boolean(true)},
                      {"bos_token", Value::trusted("<s>")},
                      {"n", Value::integer(7)}});
}

void check_spans(const Rendered& rendered) {
  size_t at = 0;
  for (const auto& span : rendered.spans) {
    S3D_CHECK(span.begin == at && span.end > at, "spans cover the text");
    at = span.end;
  }
  S3D_CHECK(at == rendered.text.size(), "spans end with the text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = std::min(input.find('\0'), input.size());
  const auto program = Template::parse(input.substr(0, zero));
  if (!program.ok()) return 0;
  RenderOptions options;
  options.limits.steps = 100'000;
  options.limits.bytes = 16 << 20;
  options.limits.output = 4 << 20;
  options.limits.depth = 400;
  options.clock = [] { return std::tm{}; };
  const auto rendered = program->render(conversation(std::string(input.substr(std::min(zero + 1, size)))), options);
  if (rendered.ok()) check_spans(*rendered);
  return 0;
}
