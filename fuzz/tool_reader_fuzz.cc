// Fuzz entry: any bytes as the answer of a model that may think and call tools. The first byte chooses the format, the
// second how the text is cut. What is read does not depend on that, and no letter is lost.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "serve/tool_reader.h"

namespace {

using namespace s3d::serve;

struct Whole {
  std::string thought, content;
  std::vector<std::string> calls;
  bool operator==(const Whole&) const = default;
};

void add(Whole& whole, const AnswerDelta& delta) {
  whole.thought += delta.thought;
  whole.content += delta.content;
  for (const CallDelta& call : delta.calls) {
    const auto index = static_cast<size_t>(call.index);
    S3D_CHECK(index <= whole.calls.size(), "calls come in order");
    if (index == whole.calls.size()) whole.calls.emplace_back();
    whole.calls[index] += call.name + call.arguments;
  }
}

Whole read(ReaderOptions options, std::string_view text, size_t step) {
  options.tools_json =
      R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "string"}}}}}])";
  options.make_id = [] { return std::string("id"); };
  const auto reader = make_answer_reader(std::move(options));
  Whole whole;
  for (; text.size() > step; text.remove_prefix(step)) add(whole, reader->push(text.substr(0, step)));
  add(whole, reader->push(text));
  add(whole, reader->finish());
  return whole;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  ReaderOptions options;
  options.tools = static_cast<ToolFormat>(data[0] % 6);
  options.thoughts_open = (data[0] & 0x40U) != 0;
  if ((data[0] & 0x80U) != 0) options.thoughts = {"<think>", "</think>"};
  const Whole whole = read(options, text, text.size() + 1);
  S3D_CHECK(read(options, text, 1 + data[1] % 8U) == whole, "the pieces of a text change nothing");
  if (whole.calls.empty() && options.thoughts.begin.empty())
    S3D_CHECK(whole.content == text, "without calls all is content");
  return 0;
}
