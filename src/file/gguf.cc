#include "file/gguf.h"

#include <fmt/format.h>
#include <gguf.h>

#include <unordered_map>
#include <utility>

#include "file/gguf_part.h"
#include "file/gguf_values.h"

namespace s3d {
namespace {

Error wrong_type(const GgufPart& part, std::string_view key, int64_t id, const char* expected) {
  return Error{fmt::format("{}: metadata key \"{}\" is {} ({}), expected {}", part.path(), key,
                           value_text(part.gguf(), id, 40), type_text(part.gguf(), id), expected)};
}

int64_t find_key(const GgufPart& part, std::string_view key) {
  return gguf_find_key(part.gguf(), std::string(key).c_str());
}

// The value under `key` as read by `read` (which gives nullopt on a wrong type).
template <typename T, typename Read>
Result<std::optional<T>> get(const GgufPart& part, std::string_view key, const char* expected, Read read) {
  const int64_t id = find_key(part, key);
  if (id < 0) return std::optional<T>();
  std::optional<T> value = read(part.gguf(), id);
  if (!value) return wrong_type(part, key, id, expected);
  return value;
}

std::optional<bool> boolean_value(const gguf_context* gguf, int64_t id) {
  if (gguf_get_kv_type(gguf, id) != GGUF_TYPE_BOOL) return std::nullopt;
  return gguf_get_val_bool(gguf, id);
}

std::optional<std::string> string_value(const gguf_context* gguf, int64_t id) {
  if (gguf_get_kv_type(gguf, id) != GGUF_TYPE_STRING) return std::nullopt;
  return gguf_get_val_str(gguf, id);
}

std::optional<std::vector<std::string>> string_values(const gguf_context* gguf, int64_t id) {
  if (gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY || gguf_get_arr_type(gguf, id) != GGUF_TYPE_STRING) {
    return std::nullopt;
  }
  std::vector<std::string> values(gguf_get_arr_n(gguf, id));
  for (size_t i = 0; i < values.size(); ++i) values[i] = gguf_get_arr_str(gguf, id, i);
  return values;
}

}  // namespace

int64_t Tensor::rows() const {
  int64_t rows = 1;
  for (size_t d = 1; d < shape.size(); ++d) rows *= shape[d];
  return rows;
}

Result<std::optional<int64_t>> integer_of(const GgufPart& part, std::string_view key) {
  return get<int64_t>(part, key, "an integer of at most 63 bits", integer_value);
}

struct GgufFile::Impl {
  std::string path;
  std::vector<GgufPart> parts;  // at least one
  std::vector<Tensor> tensors;
  std::unordered_map<std::string_view, size_t> by_name;  // views into `tensors`

  const GgufPart& first() const { return parts.front(); }

  // Fills the tensor list and its index. Error: a name that two parts share.
  Status index() {
    for (const GgufPart& part : parts) part.append_tensors(tensors);
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!by_name.emplace(tensors[i].name, i).second) {
        return Error{fmt::format("{}: tensor \"{}\" is in two parts of the split model: download them again", path,
                                 tensors[i].name)};
      }
    }
    return Ok();
  }
};

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

Result<GgufFile> GgufFile::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  S3D_ASSIGN(impl->parts, open_parts(path));
  S3D_TRY(impl->index());
  return GgufFile(std::move(impl));
}

Result<GgufFile> GgufFile::from_bytes(std::vector<std::byte> bytes, const std::string& name) {
  auto impl = std::make_unique<Impl>();
  impl->path = name;
  S3D_ASSIGN(GgufPart part, GgufPart::from_bytes(std::move(bytes), name));
  impl->parts.push_back(std::move(part));
  S3D_TRY(impl->index());
  return GgufFile(std::move(impl));
}

const std::string& GgufFile::path() const {
  return impl_->path;
}

uint32_t GgufFile::version() const {
  return gguf_get_version(impl_->first().gguf());
}

std::span<const std::byte> GgufFile::image() const {
  return impl_->first().image();
}

size_t GgufFile::parts() const {
  return impl_->parts.size();
}

size_t GgufFile::file_bytes() const {
  size_t bytes = 0;
  for (const GgufPart& part : impl_->parts) bytes += part.image().size();
  return bytes;
}

std::span<const Tensor> GgufFile::tensors() const {
  return impl_->tensors;
}

const Tensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? nullptr : &impl_->tensors[found->second];
}

Result<const Tensor*> GgufFile::tensor(std::string_view name) const {
  if (const Tensor* found = find_tensor(name)) return found;
  return Error{
      fmt::format("{}: tensor \"{}\" is missing (the file has {} tensors)", impl_->path, name, impl_->tensors.size())};
}

Result<std::optional<int64_t>> GgufFile::integer(std::string_view key) const {
  return integer_of(impl_->first(), key);
}

Result<std::optional<double>> GgufFile::real(std::string_view key) const {
  return get<double>(impl_->first(), key, "a number", real_value);
}

Result<std::optional<bool>> GgufFile::boolean(std::string_view key) const {
  return get<bool>(impl_->first(), key, "a boolean", boolean_value);
}

Result<std::optional<std::string>> GgufFile::string(std::string_view key) const {
  return get<std::string>(impl_->first(), key, "a string", string_value);
}

Result<std::optional<std::vector<std::string>>> GgufFile::strings(std::string_view key) const {
  return get<std::vector<std::string>>(impl_->first(), key, "an array of strings", string_values);
}

Result<std::optional<std::vector<int64_t>>> GgufFile::integers(std::string_view key) const {
  return get<std::vector<int64_t>>(impl_->first(), key, "an array of integers", integer_values);
}

Result<std::optional<std::vector<double>>> GgufFile::reals(std::string_view key) const {
  return get<std::vector<double>>(impl_->first(), key, "an array of numbers", real_values);
}

bool GgufFile::is_array(std::string_view key) const {
  const int64_t id = find_key(impl_->first(), key);
  return id >= 0 && gguf_get_kv_type(impl_->first().gguf(), id) == GGUF_TYPE_ARRAY;
}

std::vector<std::string> GgufFile::keys() const {
  const gguf_context* gguf = impl_->first().gguf();
  std::vector<std::string> keys;
  for (int64_t i = 0; i < gguf_get_n_kv(gguf); ++i) keys.emplace_back(gguf_get_key(gguf, i));
  return keys;
}

std::string GgufFile::value_text(std::string_view key, size_t max_chars) const {
  const int64_t id = find_key(impl_->first(), key);
  return id < 0 ? "" : s3d::value_text(impl_->first().gguf(), id, max_chars);
}

void GgufFile::release_pages() const {
  for (const GgufPart& part : impl_->parts) part.release(part.image());
}

void GgufFile::release_pages(const Tensor& tensor) const {
  for (const GgufPart& part : impl_->parts) {
    const std::span<const std::byte> image = part.image();
    const bool inside = tensor.data >= image.data() && tensor.data < image.data() + image.size();
    if (inside) part.release({tensor.data, tensor.bytes});
  }
}

}  // namespace s3d
