#include "file/gguf_part.h"

#include <fmt/format.h>

#include <utility>

#include "file/gguf_scan.h"

namespace s3d {
namespace {

int dimensions_of(const int64_t* extents) {
  int dims = GGML_MAX_DIMS;
  while (dims > 1 && extents[dims - 1] == 1) --dims;
  return dims;
}

// "models/a-00002-of-00003.gguf" -> "models/a"; empty if the name does not end with this part's number.
std::string split_prefix(const std::string& path, const SplitInfo& info) {
  const std::string suffix = fmt::format("-{:05}-of-{:05}.gguf", info.no + 1, info.count);
  if (path.size() < suffix.size() || path.compare(path.size() - suffix.size(), suffix.size(), suffix) != 0) return "";
  return path.substr(0, path.size() - suffix.size());
}

Result<SplitInfo> split_info(const GgufPart& part) {
  SplitInfo info;
  S3D_ASSIGN(const auto count, integer_of(part, "split.count"));
  S3D_ASSIGN(const auto no, integer_of(part, "split.no"));
  S3D_ASSIGN(const auto tensors, integer_of(part, "split.tensors.count"));
  info.count = count.value_or(0) == 0 ? 1 : *count;
  info.no = no.value_or(0);
  info.tensors = tensors.value_or(-1);
  if (info.count < 1 || info.count > 99999 || info.no < 0 || info.no >= info.count) {
    return Error{fmt::format("{}: it claims to be part {} of {} (split.no + 1, split.count), which is impossible",
                             part.path(), info.no + 1, info.count)};
  }
  return info;
}

Result<GgufPart> open_part(const std::string& path, const SplitInfo& expected) {
  auto part = GgufPart::open(path);
  if (!part.ok()) {
    return part.error().within(
        fmt::format("part {} of the {} parts of a split model", expected.no + 1, expected.count));
  }
  S3D_ASSIGN(const SplitInfo found, split_info(*part));
  if (found.no != expected.no || found.count != expected.count) {
    return Error{
        fmt::format("{}: by its name part {} of {}, by its metadata part {} of {}: the parts are mixed up; "
                    "download them again",
                    path, expected.no + 1, expected.count, found.no + 1, found.count)};
  }
  return part;
}

Status check_total(const std::vector<GgufPart>& parts, const SplitInfo& info) {
  int64_t total = 0;
  for (const GgufPart& part : parts) total += gguf_get_n_tensors(part.gguf());
  if (info.tensors < 0 || info.tensors == total) return Ok();
  return Error{fmt::format("{}: the {} parts hold {} tensors, expected {} (split.tensors.count): download them again",
                           parts[0].path(), parts.size(), total, info.tensors)};
}

}  // namespace

Result<GgufPart> GgufPart::from_image(Image image, const std::string& path) {
  GgufPart part;
  part.path_ = path;
  part.image_ = std::move(image);
  S3D_TRY(scan_gguf(part.image(), path));
  const gguf_init_params params{/*no_alloc=*/true, /*ctx=*/nullptr};
  part.gguf_.reset(gguf_init_from_buffer(part.image().data(), part.image().size(), params));
  if (part.gguf_ == nullptr) {
    return Error{path + ": ggml's reader refuses this GGUF file; it is damaged or newer than this program's ggml"};
  }
  return part;
}

Result<GgufPart> GgufPart::open(const std::string& path) {
  S3D_ASSIGN(Mapping mapping, Mapping::open(path));
  return from_image(Image(std::move(mapping)), path);
}

Result<GgufPart> GgufPart::from_bytes(std::vector<std::byte> bytes, const std::string& name) {
  return from_image(Image(std::move(bytes)), name);
}

std::span<const std::byte> GgufPart::image() const {
  if (const auto* mapping = std::get_if<Mapping>(&image_)) return mapping->bytes();
  return std::get<std::vector<std::byte>>(image_);
}

void GgufPart::append_tensors(std::vector<Tensor>& out) const {
  const gguf_context* context = gguf_.get();
  const size_t start = gguf_get_data_offset(context);
  for (int64_t i = 0; i < gguf_get_n_tensors(context); ++i) {
    const int64_t* extents = gguf_get_tensor_ne(context, i);
    Tensor tensor{};
    tensor.name = gguf_get_tensor_name(context, i);
    tensor.type = gguf_get_tensor_type(context, i);
    tensor.shape.assign(extents, extents + dimensions_of(extents));
    tensor.data = image().data() + start + gguf_get_tensor_offset(context, i);
    tensor.bytes = gguf_get_tensor_size(context, i);
    out.push_back(std::move(tensor));
  }
}

void GgufPart::release(std::span<const std::byte> part) const {
  if (const auto* mapping = std::get_if<Mapping>(&image_)) mapping->release(part);
}

Result<std::vector<GgufPart>> open_parts(const std::string& path) {
  S3D_ASSIGN(GgufPart named, GgufPart::open(path));
  S3D_ASSIGN(SplitInfo info, split_info(named));
  std::vector<GgufPart> parts;
  if (info.count == 1) {
    parts.push_back(std::move(named));
    return parts;
  }
  const std::string prefix = split_prefix(path, info);
  if (prefix.empty()) {
    return Error{
        fmt::format("{}: this is part {} of a split model of {} parts, so its name must end with "
                    "\"-{:05}-of-{:05}.gguf\": give the files their original names",
                    path, info.no + 1, info.count, info.no + 1, info.count)};
  }
  const int64_t named_no = info.no;
  for (info.no = 0; info.no < info.count; ++info.no) {
    if (info.no == named_no) {
      parts.push_back(std::move(named));  // NOLINT(bugprone-use-after-move): once, info.no takes each value once
      continue;
    }
    const std::string part_path = fmt::format("{}-{:05}-of-{:05}.gguf", prefix, info.no + 1, info.count);
    S3D_ASSIGN(GgufPart part, open_part(part_path, info));
    parts.push_back(std::move(part));
  }
  S3D_TRY(check_total(parts, info));
  return parts;
}

}  // namespace s3d
