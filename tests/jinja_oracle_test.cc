// Compares src/jinja, byte for byte, with what Jinja2 made of templates (scripts/oracles/jinja_chat.py).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "fetch/sha256.h"
#include "jinja/template.h"
#include "jinja_json.h"

namespace s3d {
namespace {

using jinja::RenderOptions;
using jinja::Template;
using Json = nlohmann::ordered_json;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Json read_data(const std::string& name) {
  return Json::parse(read_file(std::string(S3D_SOURCE_DIR) + "/tests/data/text/" + name));
}

// The oracle's clock: Sunday, 9 March 2025, 14:05:06.
RenderOptions options() {
  RenderOptions out;
  out.clock = [] {
    std::tm now{};
    now.tm_year = 125;
    now.tm_mon = 2;
    now.tm_mday = 9;
    now.tm_hour = 14;
    now.tm_min = 5;
    now.tm_sec = 6;
    now.tm_wday = 0;
    now.tm_yday = 67;
    return now;
  };
  return out;
}

Result<std::string> rendered(const Result<Template>& program, const Json& context) {
  if (!program.ok()) return program.error();
  S3D_ASSIGN(const jinja::Rendered result, program->render(jinja_value(context), options()));
  return result.text;
}

// FNV-1a, as in the oracle.
std::string short_hash(const std::string& text) {
  uint64_t value = 0xCBF29CE484222325U;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  char buffer[20];
  std::snprintf(buffer, sizeof buffer, "%016llx", static_cast<unsigned long long>(value));
  return buffer;
}

TEST(JinjaOracle, CasesAreEqual) {
  const Json cases = read_data("jinja-cases.json");
  ASSERT_GT(cases.size(), 100U);
  for (const Json& c : cases) {
    const auto text = rendered(Template::parse(c["template"].get<std::string>()), c["context"]);
    if (c["output"].is_null()) {
      EXPECT_FALSE(text.ok()) << c["name"] << ": Jinja2 refuses it, we say " << *text;
    } else {
      EXPECT_EQ(text.ok() ? *text : text.error().message, c["output"].get<std::string>()) << c["name"];
    }
  }
}

// Needs templates that are not ours to ship.
TEST(JinjaOracle, TemplatesOfModelsAreEqual) {
  const char* folder = std::getenv("S3D_TEMPLATES");
  if (folder == nullptr) {
    GTEST_SKIP() << "set S3D_TEMPLATES to vendor/llama.cpp/models/templates of the sdist llama-cpp-python 0.3.36";
  }
  const Json hashes = read_data("jinja-hashes.json");
  const Json& conversations = hashes["conversations"];
  size_t compared = 0;
  for (const auto& [name, entry] : hashes["templates"].items()) {
    const std::string path = std::string(folder) + "/" + name;
    ASSERT_TRUE(std::filesystem::exists(path)) << path;
    const auto sha = sha256_of_file(path);
    ASSERT_TRUE(sha.ok() && *sha == entry["sha256"].get<std::string>())
        << path << " is another version of the template";
    const auto program = Template::parse(read_file(path));
    std::istringstream expected(entry["outputs"].get<std::string>());
    for (const auto& [conversation, context] : conversations.items()) {
      std::string hash;
      expected >> hash;
      const auto text = rendered(program, context);
      EXPECT_EQ(text.ok() ? short_hash(*text) : "error", hash)
          << name << ", " << conversation << (text.ok() ? "" : ": " + text.error().message);
      ++compared;
    }
  }
  std::printf("%zu renderings compared\n", compared);
}

}  // namespace
}  // namespace s3d
