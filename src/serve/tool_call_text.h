// The text of one call of a tool, read byte by byte.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "serve/json_scanner.h"

namespace s3d::serve {

// The tools of a request: their names, and which of their parameters are texts.
struct ToolSignatures {
  struct Tool {
    std::map<std::string, bool> is_text;  // of each parameter that has a type
    std::map<std::string, bool> is_word;  // of those texts: one of a list, so blanks around it mean nothing
  };
  std::map<std::string, Tool> tools;

  // From `tools` of a request: a JSON array in OpenAI's form that has been checked.
  static ToolSignatures of(std::string_view tools_json);
};

// Reads one call. As soon as its tool and the beginning of its arguments are known it has begun, and gives the
// arguments as they come: pieces of a JSON object. Before that nothing is given. Thread rule: one call at a time.
class ToolCallText {
 public:
  enum class Step : uint8_t { kMore, kDone, kBad };
  virtual ~ToolCallText() = default;
  virtual Step push(char c) = 0;
  // The text has ended, or has gone bad, after the call had begun: adds what makes the best of its arguments.
  virtual void abandon() {}

  bool begun() const { return begun_; }
  const std::string& name() const { return name_; }  // once it has begun
  std::string take_arguments();                      // those since the last time

 protected:
  std::string name_;
  std::string arguments_;
  bool begun_ = false;
};

// {"name": "…", "arguments": {…}}, in any order, with "parameters" for "arguments", in one more object "function", …
std::unique_ptr<ToolCallText> make_json_call(const ToolSignatures& tools);
// <function=name><parameter=key>value</parameter>…</function>
std::unique_ptr<ToolCallText> make_xml_call(const ToolSignatures& tools);
// name[ARGS]{…}
std::unique_ptr<ToolCallText> make_named_call(const ToolSignatures& tools);

}  // namespace s3d::serve
