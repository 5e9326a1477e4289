// Unicode's normalization form C: each letter with its marks as one character where there is one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace s3d {

// The composed form of `text`, which must be well-formed UTF-8; nullopt where a look at the bytes shows that it is
// `text` itself. Time: O(n log n), also for long runs of marks.
std::optional<std::string> compose(std::string_view text);

}  // namespace s3d
