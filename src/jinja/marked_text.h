// A text in which every byte knows who wrote it: the template, or the data that the template was given.
//
// A special token that stands in a prompt may only come from the template: what a user types stays ordinary text. So
// each operation on texts (joining, slicing, replacing) keeps the marks of the bytes it copies.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace s3d::jinja {

// A stretch of a text, [begin, end) in bytes, all of it from one origin.
struct Span {
  size_t begin;
  size_t end;
  bool from_template;  // written by the template (or given as trusted), not by the data

  bool operator==(const Span&) const = default;
};

// UTF-8 with marks. A uniform text, which nearly all are, stores no more than one flag. Thread rule: as std::string.
class MarkedText {
 public:
  MarkedText() = default;
  MarkedText(std::string bytes, bool from_template) : bytes_(std::move(bytes)), first_(from_template) {}

  const std::string& bytes() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // Markup is Jinja's type for text that the filter `safe` has declared to be HTML: adding a plain text to it escapes
  // that text. Chat templates use it by accident, and their models were trained on what came out.
  bool markup() const { return markup_; }
  void set_markup(bool markup) { markup_ = markup; }

  void append(const MarkedText& other) { append(other, 0, other.size()); }
  void append(const MarkedText& other, size_t begin, size_t end);  // [begin, end) of other
  void append(std::string_view bytes, bool from_template);

  // [begin, end); markup stays markup.
  MarkedText substr(size_t begin, size_t end) const;

  // `offset` < size().
  bool from_template_at(size_t offset) const;

  // In order, without gaps, neighbours differing; none for an empty text.
  std::vector<Span> spans() const;

 private:
  bool mark_at_end() const { return first_ != (flips_.size() % 2 == 1); }

  std::string bytes_;
  std::vector<size_t> flips_;  // ascending offsets, all in (0, size), where the mark changes
  bool first_ = true;          // the mark of the first byte
  bool markup_ = false;
};

}  // namespace s3d::jinja
