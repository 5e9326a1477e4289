// Model files that are odd or damaged, as the program meets them.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "base/test_folder.h"
#include "file/gguf.h"
#include "program_runner.h"

namespace s3d::test {
namespace {

std::string image_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class CliModelsTest : public testing::Test {
 protected:
  std::string write(const std::string& image) const {
    const std::string path = folder_ / "odd.gguf";
    std::ofstream(path, std::ios::binary) << image;
    return path;
  }

  TestFolder folder_;
};

TEST_F(CliModelsTest, NumbersThatAreNoneAreAnErrorThatNamesTheFile) {
  const GgufFile file = GgufFile::open(tiny_model()).value();
  const Tensor* norm = file.find_tensor("output_norm.weight");
  ASSERT_NE(norm, nullptr);
  std::string image = image_of(tiny_model());
  image.replace(static_cast<size_t>(norm->data - file.image().data()), 4, std::string("\x00\x00\xc0\x7f", 4));
  const std::string path = write(image);
  for (const char* spec : {"off", "lookup"}) {
    const Outcome o = run_s3d({"generate", "-m", path, "-p", "the", "-n", "8", "--spec", spec, "--json"});
    EXPECT_EQ(o.code, 1) << o.out;
    EXPECT_NE(o.err.find(path + ": the model's answer"), std::string::npos) << o.err;
    EXPECT_EQ(o.out, "");
  }
}

// "<|eos|>" renamed to a mark that everybody knows, and typed as ordinary text.
TEST_F(CliModelsTest, AMarkTypedAsTextIsAMarkWithOneWarning) {
  std::string image = image_of(tiny_model());
  const size_t text = image.find("<|eos|>"), key = image.find("tokenizer.ggml.token_type");
  ASSERT_TRUE(text != std::string::npos && key != std::string::npos);
  image.replace(text, 7, "<|end|>");
  // After the key: type (array), type of its elements, count of them (8 bytes), then int32 for ids 0, 1, …
  const size_t type_of_eos = key + std::strlen("tokenizer.ggml.token_type") + 4 + 4 + 8 + 4;
  ASSERT_EQ(image[type_of_eos], 3);
  image[type_of_eos] = 1;
  const std::string path = write(image);
  const Outcome ids = run_s3d({"tokenize", "-m", path, "-p", "a<|end|>", "--ids", "--no-bos"});
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(ids.out.substr(ids.out.find(' ')), " 1\n");
  const Outcome o = run_s3d({"generate", "-m", path, "-p", "the", "-n", "2", "--raw"});
  EXPECT_EQ(o.code, 0) << o.err;
  const size_t warning = o.err.find("s3d: warning: ");
  ASSERT_NE(warning, std::string::npos) << o.err;
  EXPECT_NE(o.err.find("'<|end|>'", warning), std::string::npos) << o.err;
  EXPECT_EQ(o.err.find("s3d: warning: ", warning + 1), std::string::npos) << o.err;
  EXPECT_EQ(run_s3d({"generate", "-m", path, "-p", "the", "-n", "2", "--raw", "--quiet"}).err, "");
}

}  // namespace
}  // namespace s3d::test
