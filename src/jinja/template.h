// A chat template: a program in the template language Jinja2 that turns messages into a prompt.
//
// The language is Jinja2 3.1 as transformers sets it up: in its sandbox (nothing may be changed but namespaces), with
// trim_blocks and lstrip_blocks, break and continue, {% generation %}, and the functions raise_exception, strftime_now
// and tojson of transformers. What a chat template has no use for (include, extends, import, block, autoescape) is
// refused.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/budget.h"
#include "jinja/marked_text.h"
#include "jinja/value.h"

namespace s3d::jinja {

struct RenderOptions {
  Limits limits;
  // Local time for strftime_now; empty: the machine's clock.
  std::function<std::tm()> clock;
};

struct Rendered {
  std::string text;         // UTF-8
  std::vector<Span> spans;  // cover the text; where the template's own words are, and where the data
};

struct Program;  // program.h

// Thread rule: const after parse(); render() may be called by many threads at once.
class Template {
 public:
  // Error: what Jinja2 refuses when it compiles a template, and what this library does not know; with the line.
  static Result<Template> parse(std::string_view source);

  // `context`: a dict of the variables. Error: what the template raises itself (raise_exception), what Jinja2 would
  // stop at, and limits that are exceeded; with line and construct.
  Result<Rendered> render(const Value& context, const RenderOptions& options = {}) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

  std::shared_ptr<const Program> program_;
};

}  // namespace s3d::jinja
