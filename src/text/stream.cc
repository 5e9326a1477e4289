#include "text/stream.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace s3d {

std::string Utf8Stream::push(std::string_view bytes) {
  const std::string joined = std::exchange(pending_, {}).append(bytes);
  std::string out;
  out.reserve(joined.size());
  std::string_view rest = joined;
  while (!rest.empty()) {
    const Utf8Prefix prefix = utf8_prefix(rest);
    if (prefix.incomplete) {
      pending_ = std::string(rest);
      break;
    }
    out += prefix.whole ? rest.substr(0, prefix.length) : kReplacementChar;
    rest.remove_prefix(prefix.length);
  }
  return out;
}

std::string Utf8Stream::finish() {
  return std::exchange(pending_, {}).empty() ? std::string() : std::string(kReplacementChar);
}

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::push_special(std::string_view text) {
  const auto holds = [text](const std::string& stop) { return stop.find(text) != std::string::npos; };
  if (text.empty() || std::none_of(stops_.begin(), stops_.end(), holds)) return {};
  return push(text, /*shown=*/false);
}

std::string StopMatcher::take(size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) {
    if (shown_[i] != 0) out += held_[i];
  }
  held_.erase(0, n);
  shown_.erase(0, n);
  return out;
}

std::string StopMatcher::push(std::string_view text, bool shown) {
  if (stopped_) return {};
  held_ += text;
  shown_.append(text.size(), static_cast<char>(shown));
  // The first stop to be complete wins, whatever the pieces were; of several that end there, the one that begins first.
  size_t begin = std::string::npos;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos || std::pair(at + stop.size(), at) >= std::pair(end, begin)) continue;
    begin = at;
    end = at + stop.size();
  }
  if (end != std::string::npos) {
    stopped_ = true;
    stop_ = held_.substr(begin, end - begin);
    return take(begin);
  }
  // The longest end of the text that a stop string could begin with stays back.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
    }
  }
  return take(held_.size() - keep);
}

std::string StopMatcher::finish() {
  return stopped_ ? std::string() : take(held_.size());
}

}  // namespace s3d
