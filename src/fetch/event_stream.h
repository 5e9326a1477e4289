// Server-sent events as they come over the network (WHATWG HTML, section 9.2), as far as answers of models use them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace s3d {

// Thread rule: one call at a time.
class EventStream {
 public:
  // The data of the events that `bytes` complete, in order. Comments and events without data give nothing.
  std::vector<std::string> push(std::string_view bytes);

 private:
  void take_line(std::string_view line, std::vector<std::string>& events);

  std::string rest_;  // of a line that is not whole
  std::string data_;  // of the event that is not whole
  bool has_data_ = false;
};

}  // namespace s3d
