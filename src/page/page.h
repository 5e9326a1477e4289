// The page that a browser gets: the files of web/, built into the program.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace s3d {

// Const after it was made. Thread rule: any number of threads.
class Page {
 public:
  // The files as they were when the program was built.
  static Page built_in();

  // The files of a folder, read now: for who works on the page. Error: no index.html in it, a file that cannot be read.
  static Result<Page> from_folder(const std::string& folder);

  // What a GET of `path` ("/" is index.html) is answered with: the file, or 304 where `if_none_match` (a header's
  // value, may be empty) names what the browser has already. Nothing: no such file.
  std::optional<http::Reply> answer(std::string_view path, std::string_view if_none_match) const;

 private:
  struct File {
    std::string bytes;
    std::string etag;  // with its quotation marks
    std::string type;
  };
  void add(const std::string& name, std::string bytes);

  std::map<std::string, File, std::less<>> files_;  // by name, without folders
};

}  // namespace s3d
