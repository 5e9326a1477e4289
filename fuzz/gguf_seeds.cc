// Writes the seeds of gguf_fuzz: gguf_seeds FOLDER. Small right files of each family and each kind of value; the
// fuzzer does the damage.
#include <cstdio>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "file/gguf_test_writer.h"
#include "model/test_model_file.h"

namespace {

bool write(const std::string& folder, const std::string& name, const std::vector<std::byte>& image) {
  const s3d::Status status = s3d::write_file_atomically(folder + "/" + name + ".gguf", image);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return status.ok();
}

std::vector<std::byte> values_image(uint32_t version) {
  s3d::GgufTestWriter writer;
  writer.version = version;
  writer.alignment = 64;
  writer.key_u32("general.alignment", 64);
  writer.key_u8("u8", 1);
  writer.key_i8("i8", -1);
  writer.key_u16("u16", 2);
  writer.key_u64("u64", 3);
  writer.key_f64("f64", 0.5);
  writer.key_bool("bool", true);
  writer.key_strings("strings", {"a", "", "bc"});
  writer.key_array<int16_t>("shorts", GGUF_TYPE_INT16, {1, 2});
  writer.key_array<float>("floats", GGUF_TYPE_FLOAT32, {1, 2});
  writer.tensor("quantized", GGML_TYPE_Q8_0, {32, 2}, std::vector<std::byte>(68));
  writer.tensor("large.blocks", GGML_TYPE_Q4_K, {256}, std::vector<std::byte>(144));
  return writer.image();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  const std::string folder = argv[1];
  const s3d::TestModelSizes tiny{.layers = 1, .d = 4, .heads = 2, .kv_heads = 1, .head_dim = 2, .ff = 4, .vocab = 3};
  bool ok = write(folder, "values-v2", values_image(2)) && write(folder, "values-v3", values_image(3)) &&
            write(folder, "nothing", s3d::GgufTestWriter().image());
  for (const char* family : {"llama", "qwen2", "qwen3", "phi3", "gemma3"}) {
    ok = ok && write(folder, family, s3d::TestModelFile(family, tiny).image());
  }
  return ok ? 0 : 1;
}
