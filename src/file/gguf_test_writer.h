// Writes GGUF images byte by byte, right or wrong ones, for tests and fuzz seeds. Not part of the library.
#pragma once

#include <ggml.h>
#include <gguf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace s3d {

// The bytes are appended as told; nothing is checked, so that any damage can be written.
class GgufTestWriter {
 public:
  // Values under metadata keys.
  void key_u8(std::string_view k, uint8_t v) { key_scalar(k, GGUF_TYPE_UINT8, v); }
  void key_i8(std::string_view k, int8_t v) { key_scalar(k, GGUF_TYPE_INT8, v); }
  void key_u16(std::string_view k, uint16_t v) { key_scalar(k, GGUF_TYPE_UINT16, v); }
  void key_u32(std::string_view k, uint32_t v) { key_scalar(k, GGUF_TYPE_UINT32, v); }
  void key_i32(std::string_view k, int32_t v) { key_scalar(k, GGUF_TYPE_INT32, v); }
  void key_u64(std::string_view k, uint64_t v) { key_scalar(k, GGUF_TYPE_UINT64, v); }
  void key_f32(std::string_view k, float v) { key_scalar(k, GGUF_TYPE_FLOAT32, v); }
  void key_f64(std::string_view k, double v) { key_scalar(k, GGUF_TYPE_FLOAT64, v); }
  void key_bool(std::string_view k, bool v) { key_scalar(k, GGUF_TYPE_BOOL, static_cast<uint8_t>(v)); }
  void key_string(std::string_view k, std::string_view v) {
    begin_key(k, GGUF_TYPE_STRING);
    put_string(metadata, v);
  }
  void key_strings(std::string_view k, const std::vector<std::string>& values) {
    begin_array(k, GGUF_TYPE_STRING, values.size());
    for (const std::string& v : values) put_string(metadata, v);
  }
  template <typename T>
  void key_array(std::string_view k, gguf_type type, const std::vector<T>& values) {
    begin_array(k, type, values.size());
    for (const T& v : values) put(metadata, v);
  }

  // The start of a value; what follows is put into `metadata` by the caller.
  void begin_key(std::string_view k, uint32_t type) {
    put_string(metadata, k);
    put(metadata, type);
    ++n_keys;
  }
  void begin_array(std::string_view k, uint32_t type, uint64_t count) {
    begin_key(k, GGUF_TYPE_ARRAY);
    put(metadata, type);
    put(metadata, count);
  }

  // A tensor after the ones before it; `data` holds its bytes (any number of them).
  void tensor(std::string_view name, uint32_t type, const std::vector<uint64_t>& shape,
              const std::vector<std::byte>& bytes) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    tensor_entry(name, type, shape, data.size());
    append(data, bytes.data(), bytes.size());
  }
  void tensor_f32(std::string_view name, const std::vector<uint64_t>& shape, const std::vector<float>& values) {
    std::vector<std::byte> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    tensor(name, GGML_TYPE_F32, shape, bytes);
  }
  // Only the entry in the tensor list.
  void tensor_entry(std::string_view name, uint32_t type, const std::vector<uint64_t>& shape, uint64_t offset) {
    put_string(infos, name);
    put(infos, static_cast<uint32_t>(shape.size()));
    for (const uint64_t extent : shape) put(infos, extent);
    put(infos, type);
    put(infos, offset);
    ++n_tensors;
  }

  // The whole image.
  std::vector<std::byte> image() const {
    std::vector<std::byte> out;
    for (const char c : magic) put(out, c);
    put(out, version);
    put(out, n_tensors);
    put(out, n_keys);
    append(out, metadata.data(), metadata.size());
    append(out, infos.data(), infos.size());
    if (n_tensors > 0) out.resize((out.size() + alignment - 1) / alignment * alignment);
    append(out, data.data(), data.size());
    return out;
  }

  template <typename T>
  static void put(std::vector<std::byte>& out, T value) {
    append(out, &value, sizeof(T));
  }
  static void put_string(std::vector<std::byte>& out, std::string_view text) {
    put(out, static_cast<uint64_t>(text.size()));
    append(out, text.data(), text.size());
  }

  // Free to change.
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t n_tensors = 0;
  uint64_t n_keys = 0;
  uint64_t alignment = GGUF_DEFAULT_ALIGNMENT;  // used for padding; the key is not written
  std::vector<std::byte> metadata;
  std::vector<std::byte> infos;
  std::vector<std::byte> data;

 private:
  // (vector::insert would do, but g++ 12 warns of an overflow in it that is not there.)
  static void append(std::vector<std::byte>& out, const void* bytes, size_t size) {
    const size_t at = out.size();
    out.resize(at + size);
    if (size > 0) std::memcpy(out.data() + at, bytes, size);
  }

  template <typename T>
  void key_scalar(std::string_view k, uint32_t type, T value) {
    begin_key(k, type);
    put(metadata, value);
  }
};

}  // namespace s3d
