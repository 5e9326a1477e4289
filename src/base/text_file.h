// Text from outside as people's editors leave it: a byte-order mark in front, line ends of other systems.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace s3d {

// `text` without the UTF-8 byte-order mark that it may begin with.
std::string_view without_byte_order_mark(std::string_view text);

// The same text without a byte-order mark and with the line ends of Windows (CR LF) as LF, as Python's text files read.
// A CR without an LF stays.
std::string plain_text(std::string_view text);

// plain_text() of a file ("-": standard input). Error: names the file and what the system said.
Result<std::string> read_text_file(const std::string& path);

}  // namespace s3d
