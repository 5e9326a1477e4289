#include "train/text_lines.h"

#include <fmt/format.h>
#include <zstd.h>

#include "base/check.h"

namespace s3d::train {
namespace {

constexpr size_t kPiece = size_t{1} << 17;                   // bytes that are read at once
constexpr char kMagic[] = {'\x28', '\xb5', '\x2f', '\xfd'};  // of a frame of zstd

}  // namespace

void TextLines::Free::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

Result<TextLines> TextLines::open(const std::string& path) {
  TextLines lines(path);
  lines.in_.open(path, std::ios::binary);
  char first[sizeof kMagic] = {};
  lines.in_.read(first, sizeof first);
  if (lines.in_.bad() || !lines.in_.is_open()) return Error{fmt::format("cannot read {}: is the path right?", path)};
  if (std::equal(std::begin(first), std::end(first), std::begin(kMagic))) lines.zstd_.reset(ZSTD_createDCtx());
  lines.in_.clear();
  lines.in_.seekg(0);
  return lines;
}

Result<bool> TextLines::next(std::string& line) {
  for (size_t from = given_;;) {
    const size_t end = text_.find('\n', from);
    if (end != std::string::npos) {
      line.assign(text_, given_, end - given_);
      given_ = end + 1;
      return true;
    }
    if (text_.size() - given_ > kMaxLine) {
      return Error{fmt::format("{}: a line of more than {} MiB; is it a text of token ids?", path_, kMaxLine >> 20)};
    }
    text_.erase(0, given_);
    given_ = 0;
    from = text_.size();
    if (at_end()) break;
    S3D_TRY(read_more());
  }
  line.swap(text_);
  text_.clear();
  return !line.empty();
}

Status TextLines::read_more() {
  if (used_ == input_.size() && !full_) {
    input_.resize(kPiece);
    in_.read(input_.data(), static_cast<std::streamsize>(kPiece));
    if (in_.bad()) return Error{fmt::format("cannot read {}", path_)};
    input_.resize(static_cast<size_t>(in_.gcount()));
    used_ = 0;
  }
  if (zstd_) return decompress();
  text_ += input_;
  used_ = input_.size();
  return Ok();
}

// A piece, so that a small file cannot become any amount of text at once.
Status TextLines::decompress() {
  const size_t there = text_.size();
  text_.resize(there + kPiece);
  ZSTD_inBuffer from = {input_.data(), input_.size(), used_};
  ZSTD_outBuffer to = {text_.data() + there, kPiece, 0};
  const size_t left = ZSTD_decompressStream(zstd_.get(), &to, &from);
  text_.resize(there + to.pos);
  if (ZSTD_isError(left) != 0) {
    return Error{fmt::format("{}: damaged: {}; fetch or make it again", path_, ZSTD_getErrorName(left))};
  }
  if (from.pos > used_ || to.pos > 0) within_frame_ = left != 0;
  used_ = from.pos;
  full_ = to.pos == to.size;
  if (at_end() && within_frame_) return Error{fmt::format("{}: cut off; fetch or make it again", path_)};
  return Ok();
}

std::string compressed(const std::string& text) {
  constexpr int kLevel = 19;
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size());
  S3D_CHECK(ZSTD_isError(size) == 0, "zstd refused to compress");
  out.resize(size);
  return out;
}

}  // namespace s3d::train
