// The files of web/ as bytes. The build makes the source (cmake/EmbedPage.cmake).
#pragma once

#include <span>
#include <string_view>

namespace s3d {

struct BuiltInFile {
  std::string_view name;
  std::string_view bytes;  // lives as long as the program
};

std::span<const BuiltInFile> built_in_files();

}  // namespace s3d
