#include "serve/json.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/text_file.h"
#include "text/utf8.h"

namespace s3d::serve {
namespace {

// Walks over a document before anything of it is kept. What nlohmann calls "SAX": false stops the walk.
class LimitCheck final : public nlohmann::json_sax<Json> {
 public:
  explicit LimitCheck(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return value(); }
  bool boolean(bool /*value*/) override { return value(); }
  bool number_integer(number_integer_t /*value*/) override { return value(); }
  bool number_unsigned(number_unsigned_t /*value*/) override { return value(); }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return value(); }
  bool string(string_t& /*value*/) override { return value(); }
  bool binary(binary_t& /*value*/) override { return value(); }

  bool start_object(size_t /*size*/) override { return open(); }
  bool key(string_t& /*name*/) override {
    if (++keys_.back() <= limits_.keys) return true;
    return stop(fmt::format("an object has more than {} keys", limits_.keys));
  }
  bool end_object() override { return close(); }
  bool start_array(size_t /*size*/) override { return open(); }
  bool end_array() override { return close(); }

  bool parse_error(size_t position, const std::string& /*last_token*/, const Json::exception& error) override {
    const bool number = error.id == 406;  // out_of_range: a number that overflows a double
    return stop(number ? fmt::format("the number that ends at byte {} is too large", position)
                       : fmt::format("no JSON: byte {} cannot stand there", position));
  }

  const std::string& problem() const { return problem_; }

 private:
  bool value() {
    if (++values_ <= limits_.values) return true;
    return stop(fmt::format("more than {} values", limits_.values));
  }
  bool open() {
    keys_.push_back(0);
    if (std::cmp_less_equal(keys_.size(), limits_.depth)) return value();
    return stop(fmt::format("lists and objects nested more than {} deep", limits_.depth));
  }
  bool close() {
    keys_.pop_back();
    return true;
  }
  bool stop(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  const JsonLimits& limits_;
  std::vector<int> keys_;  // of each object that is open; a list has none
  int64_t values_ = 0;
  std::string problem_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  text = without_byte_order_mark(text);
  if (!utf8_valid(text)) return Error{"the JSON is not valid UTF-8"};
  LimitCheck check(limits);
  if (!Json::sax_parse(text, &check)) return Error{check.problem()};
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace s3d::serve
