// Values from the environment, as shells and files of settings leave them.
#pragma once

#include <string>

namespace s3d {

// The value of a variable without blanks and line ends at its ends; "" if it is not set.
// Thread rule: any thread, as long as none changes the environment.
std::string environment(const char* name);

// A path or an address without the slashes at its end, but for "/" itself.
std::string without_end_slashes(std::string text);

}  // namespace s3d
