#include "serve/tool_reader.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "serve/thought_splitter.h"
#include "serve/tool_call_text.h"

namespace s3d::serve {
namespace {

// What stands around calls.
struct Frame {
  std::string opener;
  std::string closer;     // empty: none
  bool at_start = false;  // the opener counts only where nothing was said before
};

struct CallShape {
  std::vector<Frame> frames;
  bool bare = false;   // calls may begin an answer without an opener
  bool xml = false;    // else JSON
  bool named = false;  // name[ARGS]{…} too
};

CallShape shape_of(ToolFormat format) {
  const std::vector<Frame> fences = {{"```json\n", "```", true},
                                     {"```tool_call\n", "```", true},
                                     {"```tool_code\n", "```", true},
                                     {"```\n", "```", true}};
  switch (format) {
    case ToolFormat::kHermes:
      return {.frames = {{"<tool_call>", "</tool_call>"}}};
    case ToolFormat::kQwenCoder:
      return {.frames = {{"<tool_call>", "</tool_call>"}, {"<function=", "</tool_call>"}}, .xml = true};
    case ToolFormat::kLlama3:
      return {.frames = {{"<|python_tag|>", ""}}, .bare = true};
    case ToolFormat::kMistral:
      return {.frames = {{"[TOOL_CALLS]", ""}}, .named = true};
    case ToolFormat::kPhi4:
      return {.frames = {{"<|tool_call|>", "<|/tool_call|>"}, {"functools", "", true}}, .bare = true};
    case ToolFormat::kJson:
      return {.frames = fences, .bare = true};
  }
  return {};
}

std::string random_id(ToolFormat format) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr size_t kMistralLength = 9;  // its templates refuse others
  constexpr size_t kLength = 24;
  std::random_device random;
  std::string id = format == ToolFormat::kMistral ? "" : "call_";
  for (size_t i = 0; i < (format == ToolFormat::kMistral ? kMistralLength : kLength); ++i) {
    id += kLetters[random() % kLetters.size()];
  }
  return id;
}

// Parts calls from content. Each byte moves it by one step; what turns out to be no call is read again as content, but
// for its first byte.
class CallSplitter {
 public:
  explicit CallSplitter(ReaderOptions options)
      : options_(std::move(options)),
        signatures_(ToolSignatures::of(options_.tools_json)),
        shape_(shape_of(*options_.tools)) {}

  void push(std::string_view text, AnswerDelta& delta) {
    std::string work(text);
    for (size_t i = 0; i < work.size();) {
      step(work[i++], delta);
      if (again_.empty()) continue;
      work = std::exchange(again_, {}) + work.substr(i);
      i = 0;
    }
  }

  void finish(AnswerDelta& delta);

 private:
  enum class At : uint8_t { kContent, kBeforeCall, kCall, kAfterCall };
  void step(char c, AnswerDelta& delta);
  void content(char c, AnswerDelta& delta);
  void say(char c, AnswerDelta& delta);
  void open(const Frame& frame);
  void before_call(char c, AnswerDelta& delta);
  void call(char c, AnswerDelta& delta);
  void give_arguments(AnswerDelta& delta);
  void after_call(char c, AnswerDelta& delta);
  void no_call(AnswerDelta& delta);
  const Frame* opened_by(std::string_view text, bool whole) const;
  bool left_out() const { return !options_.parallel && calls_ > 1; }

  ReaderOptions options_;
  ToolSignatures signatures_;
  CallShape shape_;
  At at_ = At::kContent;
  std::string blanks_;  // not said yet: they go if a call follows
  std::string held_;    // what may be the beginning of an opener
  std::string closer_;  // of the frame that is open
  std::string raw_;     // all since the last that was given: blanks, opener, and so on
  std::string tail_;    // what may be the beginning of the closer
  std::string again_;   // to be read again
  std::unique_ptr<ToolCallText> body_;
  bool in_list_ = false;
  bool given_ = false;  // the call's beginning was given
  bool said_ = false;   // some content, or a call
  int calls_ = 0;       // that have begun
};

void CallSplitter::step(char c, AnswerDelta& delta) {
  switch (at_) {
    case At::kContent:
      return content(c, delta);
    case At::kBeforeCall:
      return before_call(c, delta);
    case At::kCall:
      return call(c, delta);
    case At::kAfterCall:
      return after_call(c, delta);
  }
}

// The frame whose opener `text` is (`whole`) or may become.
const Frame* CallSplitter::opened_by(std::string_view text, bool whole) const {
  for (const Frame& frame : shape_.frames) {
    if (frame.at_start && said_) continue;
    if (whole ? frame.opener == text : frame.opener.starts_with(text)) return &frame;
  }
  return nullptr;
}

void CallSplitter::content(char c, AnswerDelta& delta) {
  if (held_.empty() && is_blank(c)) {
    blanks_ += c;
    return;
  }
  if (held_.empty() && shape_.bare && !said_ && (c == '{' || c == '[')) {
    open({});
    return before_call(c, delta);
  }
  held_ += c;
  if (const Frame* frame = opened_by(held_, /*whole=*/true)) return open(*frame);
  if (opened_by(held_, /*whole=*/false) != nullptr) return;
  again_ = held_.substr(1);
  const char first = held_[0];
  held_.clear();
  say(first, delta);
}

void CallSplitter::say(char c, AnswerDelta& delta) {
  delta.content += std::exchange(blanks_, {}) + c;
  said_ = true;
}

void CallSplitter::open(const Frame& frame) {
  raw_ = std::exchange(blanks_, {}) + frame.opener;
  held_.clear();
  tail_.clear();
  closer_ = frame.closer;
  in_list_ = false;
  at_ = At::kBeforeCall;
  if (frame.opener == "<function=") {
    body_ = make_xml_call(signatures_);
    for (const char c : frame.opener) body_->push(c);
    at_ = At::kCall;
    given_ = false;
  }
}

void CallSplitter::before_call(char c, AnswerDelta& delta) {
  if (is_blank(c)) {
    raw_ += c;
    return;
  }
  if (c == '[' && !in_list_ && !shape_.xml) {
    raw_ += c;
    in_list_ = true;
    return;
  }
  if (shape_.xml && c == '<') {
    body_ = make_xml_call(signatures_);
  } else if (!shape_.xml && c == '{') {
    body_ = make_json_call(signatures_);
  } else if (shape_.named && !in_list_) {
    body_ = make_named_call(signatures_);
  } else {
    raw_ += c;
    return no_call(delta);
  }
  at_ = At::kCall;
  given_ = false;
  call(c, delta);
}

void CallSplitter::call(char c, AnswerDelta& delta) {
  if (!given_) raw_ += c;
  const ToolCallText::Step step = body_->push(c);
  if (step == ToolCallText::Step::kBad) {
    if (!given_) return no_call(delta);
    body_->abandon();  // too late to take it back: the rest is content
    give_arguments(delta);
    at_ = At::kContent;
    again_ = c;
    return;
  }
  if (body_->begun()) {
    if (!given_) {
      given_ = said_ = true;
      raw_.clear();
      ++calls_;
      if (!left_out()) {
        const std::string id = options_.make_id ? options_.make_id() : random_id(*options_.tools);
        delta.calls.push_back({.index = calls_ - 1, .id = id, .name = body_->name(), .arguments = ""});
      }
    }
    give_arguments(delta);
  }
  if (step == ToolCallText::Step::kDone) at_ = At::kAfterCall;
}

void CallSplitter::give_arguments(AnswerDelta& delta) {
  std::string arguments = body_->take_arguments();
  if (arguments.empty() || left_out()) return;
  if (delta.calls.empty() || delta.calls.back().index != calls_ - 1) delta.calls.push_back({.index = calls_ - 1});
  delta.calls.back().arguments += arguments;
}

void CallSplitter::after_call(char c, AnswerDelta& delta) {
  raw_ += c;
  if (tail_.empty()) {
    if (is_blank(c)) return;
    if (c == ',' && in_list_) {
      at_ = At::kBeforeCall;
      return;
    }
    if (c == ']' && in_list_) {
      in_list_ = false;
      return;
    }
    if (c == ';' && closer_.empty()) {
      at_ = At::kBeforeCall;
      return;
    }
    if (c == '{' && !in_list_ && !shape_.xml) {  // one more, on a line of its own
      raw_.pop_back();
      at_ = At::kBeforeCall;
      return before_call(c, delta);
    }
  }
  tail_ += c;
  if (!closer_.empty() && tail_ == closer_) {
    raw_.clear();
    at_ = At::kContent;
    return;
  }
  if (!closer_.empty() && closer_.starts_with(tail_)) return;
  tail_.clear();
  at_ = At::kContent;
  again_ = std::exchange(raw_, {});
}

// What was taken for a call is none: its first byte is content, and the rest is read again.
void CallSplitter::no_call(AnswerDelta& delta) {
  at_ = At::kContent;
  const size_t begin = std::min(raw_.find_first_not_of(" \n\r\t"), raw_.size() - 1);
  blanks_ = raw_.substr(0, begin);
  const char first = raw_[begin];
  again_ = raw_.substr(begin + 1);
  raw_.clear();
  say(first, delta);
}

void CallSplitter::finish(AnswerDelta& delta) {
  // Each turn says at least one byte of what was held back.
  for (;;) {
    const bool open = at_ == At::kBeforeCall || (at_ == At::kCall && !given_);
    const bool rest_of_calls = calls_ > 0 && raw_.find_first_not_of(" \n\r\t,;") == std::string::npos;
    if (open && !rest_of_calls && !raw_.empty()) {
      no_call(delta);
    } else if (at_ == At::kContent && !held_.empty()) {
      again_ = held_.substr(1);
      const char first = held_[0];
      held_.clear();
      say(first, delta);
    } else {
      break;
    }
    push(std::exchange(again_, {}), delta);
  }
  if (at_ == At::kCall && given_) {
    body_->abandon();
    give_arguments(delta);
  }
  if (at_ == At::kContent && calls_ == 0) delta.content += blanks_;
}

class Reader final : public AnswerReader {
 public:
  explicit Reader(ReaderOptions options) : thoughts_(options.thoughts, options.thoughts_open) {
    if (options.tools) calls_.emplace(std::move(options));
  }

  AnswerDelta push(std::string_view text) override { return delta_of(thoughts_.push(text)); }

  AnswerDelta finish() override {
    AnswerDelta delta = delta_of(thoughts_.finish());
    if (calls_) calls_->finish(delta);
    return delta;
  }

 private:
  AnswerDelta delta_of(ThoughtSplitter::Parts parts) {
    AnswerDelta delta;
    delta.thought = std::move(parts.thought);
    if (calls_) {
      calls_->push(parts.content, delta);
    } else {
      delta.content = std::move(parts.content);
    }
    return delta;
  }

  ThoughtSplitter thoughts_;
  std::optional<CallSplitter> calls_;
};

}  // namespace

std::unique_ptr<AnswerReader> make_answer_reader(ReaderOptions options) {
  return std::make_unique<Reader>(std::move(options));
}

}  // namespace s3d::serve
