// Takes the fields of a request out of its JSON, one after the other, and remembers the first that is wrong.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api_error.h"
#include "serve/json.h"

namespace s3d::serve {

// A field that is absent or null gives nothing; one of another type or out of its range gives nothing and an error that
// names it. So a route reads all its fields first and looks at error() once. Fields that nobody asks for are ignored,
// as OpenAI's own servers have it. Thread rule: one thread at a time.
class Fields {
 public:
  // `object` must outlive this; anything but an object is an error. `where`: what stands before the names in messages,
  // such as "options.".
  explicit Fields(const Json& object, std::string where = "");

  bool has(std::string_view name) const { return find(name) != nullptr; }
  const Json* find(std::string_view name) const;  // null: absent, or null in the JSON

  std::optional<bool> boolean(std::string_view name);
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most);
  std::optional<double> number(std::string_view name, double least, double most);
  std::optional<std::string> text(std::string_view name);
  std::optional<std::vector<std::string>> texts(std::string_view name);  // one text, or a list of them
  std::vector<TokenId> tokens(std::string_view name);                    // a list of ids
  const Json* object(std::string_view name);
  const Json* array(std::string_view name);

  // A field that changes the result and cannot be had: an error unless it is absent or says `neutral`.
  void refuse_unless(std::string_view name, const Json& neutral, std::string_view why);

  void fail(std::string_view name, const std::string& what);  // message "NAME: WHAT"
  void fail(ApiError error);                                  // the first one counts
  const std::optional<ApiError>& error() const { return error_; }
  bool ok() const { return !error_.has_value(); }

 private:
  std::string full(std::string_view name) const;
  const Json* find_number(std::string_view name, std::string_view expected);  // null: none, or reported
  void fail_type(std::string_view name, std::string_view expected, const Json& found);

  const Json& object_;
  std::string where_;
  std::optional<ApiError> error_;
};

// "a text", "a list", …: for messages.
std::string_view type_name(const Json& json);

}  // namespace s3d::serve
