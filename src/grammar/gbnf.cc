#include "grammar/gbnf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "text/utf8.h"

namespace s3d {
namespace {

constexpr size_t kMaxGrammarBytes = size_t{64} << 10U;
constexpr int kMaxGroups = 64;
constexpr int64_t kMaxExpanded = 100'000;  // literals, classes and rules once repetitions are written out

// A part of a rule. Literals and classes carry their text as xgrammar reads it.
struct Node {
  enum class Kind : uint8_t { kText, kRule, kSequence, kChoice, kRepeat };
  Kind kind = Kind::kSequence;
  std::string text;            // kText: "…" or […]; kRule: its name
  std::vector<Node> children;  // kSequence, kChoice; kRepeat: one
  int least = 0;               // kRepeat
  int most = -1;               // kRepeat; -1: without end
  int line = 0;                // kRule
};

struct Rule {
  Node body;
  int line = 0;
};

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Takes one character off `text` at `at`. False: the bytes there are none.
bool next_code(std::string_view text, size_t& at, uint32_t& code) {
  const std::string_view rest = text.substr(at);
  const Utf8Prefix prefix = utf8_prefix(rest);
  if (!prefix.whole) return false;
  code = utf8_decode(rest.substr(0, prefix.length));
  at += prefix.length;
  return true;
}

// Writes a character as xgrammar reads it in literals and classes.
void put_character(uint32_t code, std::string& out) {
  if (code < 0x80 && is_name(static_cast<char>(code)) && code != '-') {
    out += static_cast<char>(code);
  } else {
    out += fmt::format("\\U{:08x}", code);
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::map<std::string, Rule>> parse() {
    std::map<std::string, Rule> rules;
    for (skip(/*lines=*/true); at_ < text_.size(); skip(/*lines=*/true)) {
      const int line = line_;
      S3D_ASSIGN(std::string name, this->name());
      skip(/*lines=*/false);
      if (!take("::=")) return fail("expected ::= after the name '" + name + "'");
      skip(/*lines=*/true);
      S3D_ASSIGN(Node body, choice(/*depth=*/0));
      if (at_ < text_.size() && text_[at_] != '\n')
        return fail("expected the end of the line after rule '" + name + "'");
      if (!rules.emplace(name, Rule{std::move(body), line}).second) return fail("rule '" + name + "' is defined twice");
    }
    return rules;
  }

 private:
  Error fail(const std::string& what) const {
    const std::string_view rest = text_.substr(std::min(at_, text_.size()));
    const std::string found =
        rest.empty() ? "the end" : "'" + std::string(rest.substr(0, rest.find('\n')).substr(0, 20)) + "'";
    return Error{fmt::format("grammar, line {}: {}, found {}", line_, what, found)};
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  // Passes blanks and comments; line ends too if `lines`.
  void skip(bool lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n')) {
        line_ += c == '\n' ? 1 : 0;
        ++at_;
      } else {
        return;
      }
    }
  }

  Result<std::string> name() {
    const size_t begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    if (at_ == begin) return fail("expected the name of a rule");
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<Node> choice(int depth);
  Result<Node> sequence(int depth);
  Result<Node> item(int depth);
  Status repetition(Node& item);
  Status bounds(Node& repeat);
  Result<int> number();
  Result<Node> literal();
  Result<Node> character_class();
  Result<uint32_t> character(char end);
  Result<uint32_t> escape();

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

Result<Node> Parser::choice(int depth) {
  if (depth > kMaxGroups) return fail(fmt::format("groups nested deeper than {}", kMaxGroups));
  Node node{.kind = Node::Kind::kChoice};
  do {
    skip(/*lines=*/true);  // an alternative may begin on the next line
    S3D_ASSIGN(Node option, sequence(depth));
    node.children.push_back(std::move(option));
    skip(/*lines=*/depth > 0);
  } while (take("|"));
  return node;
}

Result<Node> Parser::sequence(int depth) {
  Node node{.kind = Node::Kind::kSequence};
  for (;;) {
    skip(/*lines=*/depth > 0);
    const char c = peek();
    if (c == '\0' || c == '\n' || c == '|' || c == ')') return node;
    S3D_ASSIGN(Node next, item(depth));
    S3D_TRY(repetition(next));
    node.children.push_back(std::move(next));
  }
}

Result<Node> Parser::item(int depth) {
  if (take("\"")) return literal();
  if (take("[")) return character_class();
  if (take(".")) return Node{.kind = Node::Kind::kText, .text = "[^\\U00000000]"};
  if (take("(")) {
    S3D_ASSIGN(Node group, choice(depth + 1));
    if (!take(")")) return fail("expected ) at the end of a group");
    return group;
  }
  const int line = line_;
  if (!is_name(peek())) return fail("expected a literal, a class, a group or the name of a rule");
  S3D_ASSIGN(std::string rule, name());
  const size_t after = at_;
  skip(/*lines=*/false);
  if (text_.substr(at_, 3) == "::=") return fail("rule '" + rule + "' must begin on a line of its own");
  at_ = after;
  return Node{.kind = Node::Kind::kRule, .text = std::move(rule), .line = line};
}

Status Parser::repetition(Node& item) {
  for (;;) {
    Node repeat{.kind = Node::Kind::kRepeat};
    if (take("*")) {
    } else if (take("+")) {
      repeat.least = 1;
    } else if (take("?")) {
      repeat.most = 1;
    } else if (take("{")) {
      S3D_TRY(bounds(repeat));
    } else {
      return Ok();
    }
    repeat.children.push_back(std::move(item));
    item = std::move(repeat);
  }
}

Status Parser::bounds(Node& repeat) {
  skip(/*lines=*/false);
  S3D_ASSIGN(repeat.least, number());
  repeat.most = repeat.least;
  skip(/*lines=*/false);
  if (take(",")) {
    skip(/*lines=*/false);
    repeat.most = -1;
    if (peek() != '}') {
      S3D_ASSIGN(repeat.most, number());
    }
    skip(/*lines=*/false);
  }
  if (!take("}")) return fail("expected } at the end of a repetition");
  if (repeat.most >= 0 && repeat.most < repeat.least) return fail("a repetition's second number is below its first");
  return Ok();
}

Result<int> Parser::number() {
  int value = 0;
  const size_t begin = at_;
  for (; peek() >= '0' && peek() <= '9'; ++at_) {
    value = value * 10 + (peek() - '0');
    if (value > kMaxGrammarRepeat) return fail(fmt::format("a repetition of more than {}", kMaxGrammarRepeat));
  }
  if (at_ == begin) return fail("expected a number");
  return value;
}

Result<Node> Parser::literal() {
  Node node{.kind = Node::Kind::kText, .text = "\""};
  while (peek() != '"') {
    S3D_ASSIGN(const uint32_t code, character('"'));
    put_character(code, node.text);
  }
  ++at_;
  node.text += '"';
  return node;
}

Result<Node> Parser::character_class() {
  Node node{.kind = Node::Kind::kText, .text = "["};
  if (take("^")) node.text += '^';
  if (peek() == ']') return fail("a class of no characters");
  while (peek() != ']') {
    S3D_ASSIGN(const uint32_t first, character(']'));
    put_character(first, node.text);
    if (text_.substr(at_, 1) != "-" || text_.substr(at_, 2) == "-]") continue;  // a minus at the end stands for itself
    ++at_;
    S3D_ASSIGN(const uint32_t last, character(']'));
    if (last < first) return fail("a range whose end is below its beginning");
    node.text += '-';
    put_character(last, node.text);
  }
  ++at_;
  node.text += ']';
  return node;
}

// The code of one character or escape of a literal or class that ends with `end`.
Result<uint32_t> Parser::character(char end) {
  if (at_ >= text_.size() || peek() == '\n') return fail(fmt::format("expected {} before the end of the line", end));
  if (take("\\")) return escape();
  uint32_t code = 0;
  if (!next_code(text_, at_, code)) return fail("a byte that belongs to no UTF-8 character");
  return code == 0 ? Result<uint32_t>(fail("a zero byte")) : Result<uint32_t>(code);
}

Result<uint32_t> Parser::escape() {
  const char c = peek();
  const int digits = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
  if (digits == 0) {
    constexpr std::string_view kFrom = "nrt\\\"[]-^";
    constexpr std::string_view kTo = "\n\r\t\\\"[]-^";
    const size_t at = kFrom.find(c);
    if (at_ >= text_.size() || at == std::string_view::npos) return fail("unknown escape after a backslash");
    ++at_;
    return static_cast<uint32_t>(kTo[at]);
  }
  ++at_;
  uint32_t code = 0;
  for (int i = 0; i < digits; ++i, ++at_) {
    const int digit = hex_value(peek());
    if (digit < 0) return fail(fmt::format("expected {} hexadecimal digits", digits));
    code = code * 16 + static_cast<uint32_t>(digit);
  }
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return fail("an escape that is no character");
  return code;
}

// What rules are once they are parsed: are they all there, do they end, and how large are they.
class Checker {
 public:
  explicit Checker(const std::map<std::string, Rule>& rules) : rules_(rules) {}

  Status check() {
    if (!rules_.contains("root")) return Error{"grammar: no rule 'root', with which every text begins"};
    for (const auto& [name, rule] : rules_) S3D_TRY(check_names(rule.body));
    for (bool grown = true; grown;) {
      grown = false;
      for (const auto& [name, rule] : rules_) {
        if (!ends_.contains(name) && can_end(rule.body)) grown = ends_.emplace(name, true).second;
      }
    }
    for (const auto& [name, rule] : rules_) {
      if (!ends_.contains(name)) {
        return Error{
            fmt::format("grammar, line {}: rule '{}' can never end, as it always needs itself", rule.line, name)};
      }
    }
    int64_t expanded = 0;
    for (const auto& [name, rule] : rules_) expanded += size(rule.body);
    if (expanded <= kMaxExpanded) return Ok();
    return Error{fmt::format("grammar: more than {} things, with repetitions written out", kMaxExpanded)};
  }

 private:
  Status check_names(const Node& node) const {
    if (node.kind == Node::Kind::kRule && !rules_.contains(node.text)) {
      return Error{fmt::format("grammar, line {}: rule '{}' is not defined", node.line, node.text)};
    }
    for (const Node& child : node.children) S3D_TRY(check_names(child));
    return Ok();
  }

  bool can_end(const Node& node) const {
    const auto ends = [this](const Node& child) { return can_end(child); };
    switch (node.kind) {
      case Node::Kind::kText:
        return true;
      case Node::Kind::kRule:
        return ends_.contains(node.text);
      case Node::Kind::kSequence:
        return std::all_of(node.children.begin(), node.children.end(), ends);
      case Node::Kind::kChoice:
        return std::any_of(node.children.begin(), node.children.end(), ends);
      case Node::Kind::kRepeat:
        return node.least == 0 || can_end(node.children[0]);
    }
    return true;
  }

  // Saturates above the limit.
  static int64_t size(const Node& node) {
    int64_t sum = node.children.empty() ? 1 : 0;
    for (const Node& child : node.children) sum += size(child);
    if (node.kind == Node::Kind::kRepeat) sum *= std::max(node.least, std::max(node.most, 1));
    return std::min(sum, kMaxExpanded + 1);
  }

  const std::map<std::string, Rule>& rules_;
  std::map<std::string, bool> ends_;  // rules that can end
};

// Names are given anew, so that none means something else to xgrammar.
std::string ebnf_name(const std::string& name) {
  if (name == "root") return name;
  std::string out = "r_" + name;
  std::replace(out.begin(), out.end(), '-', '.');
  return out;
}

void write(const Node& node, std::string& out) {
  switch (node.kind) {
    case Node::Kind::kText:
      out += node.text;
      return;
    case Node::Kind::kRule:
      out += ebnf_name(node.text);
      return;
    case Node::Kind::kRepeat:
      out += '(';
      write(node.children[0], out);
      out += ')';
      if (node.most < 0) {
        out += fmt::format("{{{},}}", node.least);
      } else {
        out += fmt::format("{{{},{}}}", node.least, node.most);
      }
      return;
    case Node::Kind::kSequence:
    case Node::Kind::kChoice:
      out += '(';
      for (size_t i = 0; i < node.children.size(); ++i) {
        if (i > 0) out += node.kind == Node::Kind::kChoice ? " | " : " ";
        write(node.children[i], out);
      }
      if (node.children.empty()) out += "\"\"";
      out += ')';
      return;
  }
}

}  // namespace

Result<std::string> ebnf_of_gbnf(std::string_view text) {
  if (text.size() > kMaxGrammarBytes)
    return Error{fmt::format("grammar: {} bytes; at most {} are taken", text.size(), kMaxGrammarBytes)};
  S3D_ASSIGN(const auto rules, Parser(text).parse());
  S3D_TRY(Checker(rules).check());
  std::string out;
  for (const auto& [name, rule] : rules) {
    out += ebnf_name(name) + " ::= ";
    write(rule.body, out);
    out += '\n';
  }
  return out;
}

}  // namespace s3d
