#include "jinja/marked_text.h"

#include <algorithm>

#include "base/check.h"

namespace s3d::jinja {

void MarkedText::append(std::string_view bytes, bool from_template) {
  if (bytes.empty()) return;
  if (bytes_.empty()) {
    first_ = from_template;
    flips_.clear();
  } else if (mark_at_end() != from_template) {
    flips_.push_back(bytes_.size());
  }
  bytes_ += bytes;
}

void MarkedText::append(const MarkedText& other, size_t begin, size_t end) {
  if (begin >= end) return;
  auto flip = std::upper_bound(other.flips_.begin(), other.flips_.end(), begin);
  bool mark = other.first_ != ((flip - other.flips_.begin()) % 2 == 1);
  while (begin < end) {
    const size_t stop = flip == other.flips_.end() ? end : std::min(end, *flip++);
    append(other.view().substr(begin, stop - begin), mark);
    begin = stop;
    mark = !mark;
  }
}

MarkedText MarkedText::substr(size_t begin, size_t end) const {
  MarkedText out;
  out.append(*this, begin, std::min(end, size()));
  out.markup_ = markup_;
  return out;
}

bool MarkedText::from_template_at(size_t offset) const {
  S3D_CHECK(offset < size());
  const auto flip = std::upper_bound(flips_.begin(), flips_.end(), offset);
  return first_ != ((flip - flips_.begin()) % 2 == 1);
}

std::vector<Span> MarkedText::spans() const {
  std::vector<Span> out;
  if (empty()) return out;
  size_t begin = 0;
  bool mark = first_;
  for (const size_t flip : flips_) {
    out.push_back({begin, flip, mark});
    begin = flip;
    mark = !mark;
  }
  out.push_back({begin, size(), mark});
  return out;
}

}  // namespace s3d::jinja
