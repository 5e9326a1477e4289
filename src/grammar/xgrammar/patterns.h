// Whether xgrammar can serve the patterns of a schema. Internal to this folder.
#pragma once

#include <string>

#include "base/result.h"

namespace s3d {

// Checks every pattern in a text of tags (grammar/tags.h). A pattern that xgrammar makes no automaton of is put into
// the grammar as it stands, where it could end the JSON string that it is for. Error: names the first such pattern.
Status check_patterns(const std::string& tags);

}  // namespace s3d
