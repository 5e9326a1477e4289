// Fuzz entry: any bytes as a JSON schema and as a grammar in GBNF. What is taken is brought into its plain form, which
// is taken again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto plain = s3d::plain_json_schema(text); plain.ok()) {
    const auto again = s3d::plain_json_schema(*plain);
    S3D_CHECK(again.ok() || size > 100'000, "a plain schema is a schema");
  }
  if (const auto ebnf = s3d::ebnf_of_gbnf(text); ebnf.ok()) S3D_CHECK(!ebnf->empty(), "a grammar has rules");
  return 0;
}
