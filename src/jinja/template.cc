#include "jinja/template.h"

#include "jinja/interpreter.h"
#include "jinja/parser.h"
#include "jinja/program.h"

namespace s3d::jinja {

Result<Template> Template::parse(std::string_view source) {
  constexpr size_t kMostSource = 1 << 20;  // the largest template of a model that we know has 17 KB
  if (source.size() > kMostSource) return Error{"a template has at most 1 MiB, found " + std::to_string(source.size())};
  auto program = std::make_shared<Program>();
  S3D_ASSIGN(program->body, jinja::parse(source));
  S3D_TRY(check_names(program->body));
  program->hidden = hidden_names(program->body);
  return Template(std::move(program));
}

Result<Rendered> Template::render(const Value& context, const RenderOptions& options) const {
  if (!context.is_dict())
    return Error{"a template needs a dict of variables, found a " + std::string(context.type_name())};
  if (context.nesting() > options.limits.nesting) {
    return Error{"the variables are nested more than " + std::to_string(options.limits.nesting) + " deep"};
  }
  return Interpreter(context, options).run(program_->body, program_->hidden);
}

}  // namespace s3d::jinja
