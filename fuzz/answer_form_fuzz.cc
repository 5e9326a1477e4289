// Fuzz entry: any bytes as a JSON schema, as a grammar in GBNF and as a regular expression. What is taken is brought
// into its plain form, which is taken again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto plain = s3d::plain_json_schema(text); plain.ok()) {
    const auto again = s3d::plain_json_schema(*plain);
    S3D_CHECK(again.ok() || size > 100'000, "a plain schema is a schema");
  }
  if (const auto ebnf = s3d::ebnf_of_gbnf(text); ebnf.ok()) S3D_CHECK(!ebnf->empty(), "a grammar has rules");
  if (const auto gbnf = s3d::gbnf_of_regex(text); gbnf.ok()) {
    const auto ebnf = s3d::ebnf_of_gbnf(*gbnf);
    // What a regular expression may say is GBNF, but for its size.
    S3D_CHECK(ebnf.ok() || ebnf.error().message.find("bytes") != std::string::npos ||
                  ebnf.error().message.find("more than") != std::string::npos,
              ebnf.error().message);
  }
  return 0;
}
