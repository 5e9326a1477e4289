#include "train/checkpoint.h"

#include <fmt/format.h>

#include <fstream>

#include "base/atomic_file.h"

namespace s3d::train {
namespace {

using torch::Tensor;

void write_list(torch::serialize::OutputArchive& archive, const char* name, const std::vector<Tensor>& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    archive.write(fmt::format("{}{}", name, i), tensors[i].detach().to(torch::kCPU));
  }
}

Status read_list(torch::serialize::InputArchive& archive, const char* name, const std::vector<Tensor>& like,
                 std::vector<Tensor>& out) {
  for (size_t i = 0; i < like.size(); ++i) {
    Tensor value;
    archive.read(fmt::format("{}{}", name, i), value);
    if (value.sizes() != like[i].sizes()) return Error{fmt::format("tensor {}{} has another shape", name, i)};
    out.push_back(value.to(like[i].device()));
  }
  return Ok();
}

Status read_archive(const std::string& path, const std::string& settings, const std::vector<Tensor>& like,
                    Checkpoint& out) {
  torch::serialize::InputArchive archive;
  archive.load_from(path);
  c10::IValue value;
  archive.read("settings", value);
  out.settings = value.toStringRef();
  if (out.settings != settings) {
    return Error{
        fmt::format("it is of another run; choose another --out folder or add --restart.\n  there: {}\n  "
                    "here:  {}",
                    out.settings, settings)};
  }
  archive.read("step", value);
  out.step = value.toInt();
  archive.read("progress", value);
  out.progress = value.toStringRef();
  S3D_TRY(read_list(archive, "param", like, out.params));
  S3D_TRY(read_list(archive, "first", like, out.first_moments));
  return read_list(archive, "second", like, out.second_moments);
}

}  // namespace

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  S3D_ASSIGN(AtomicFile file, AtomicFile::create(path));
  Status written = Ok();
  try {
    torch::serialize::OutputArchive archive;
    archive.write("settings", c10::IValue(checkpoint.settings));
    archive.write("step", c10::IValue(checkpoint.step));
    archive.write("progress", c10::IValue(checkpoint.progress));
    write_list(archive, "param", checkpoint.params);
    write_list(archive, "first", checkpoint.first_moments);
    write_list(archive, "second", checkpoint.second_moments);
    // After an error the rest goes nowhere: libtorch's writer would end the program over a short write.
    archive.save_to([&](const void* data, size_t size) {
      if (written.ok()) written = file.write({static_cast<const std::byte*>(data), size});
      return size;
    });
  } catch (const std::exception& problem) {
    return Error{fmt::format("{}: cannot make the checkpoint: {}", path, problem.what())};
  }
  S3D_TRY(written);
  return file.commit();
}

Result<Checkpoint> read_checkpoint(const std::string& path, const std::string& settings,
                                   const std::vector<Tensor>& like) {
  if (!std::ifstream(path)) return Error{fmt::format("cannot read the checkpoint {}", path)};
  Checkpoint out;
  try {
    const Status status = read_archive(path, settings, like, out);
    if (!status.ok()) return status.error().within("checkpoint " + path);
  } catch (const std::exception&) {
    return Error{fmt::format("checkpoint {}: not a checkpoint, or damaged; remove it or add --restart", path)};
  }
  return out;
}

}  // namespace s3d::train
