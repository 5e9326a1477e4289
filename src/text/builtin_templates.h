// Chat templates of well-known families, for files that bring none and for --chat-template NAME.
#pragma once

#include <string_view>
#include <vector>

namespace s3d {

std::vector<std::string_view> builtin_template_names();

// Jinja source of a family; empty: no such name.
std::string_view builtin_template(std::string_view name);

}  // namespace s3d
