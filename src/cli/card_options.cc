#include "cli/card_options.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <string_view>
#include <vector>

namespace s3d::cli {
namespace {

// The parts between commas, or slashes, of "3,1".
std::vector<std::string_view> list_parts(std::string_view list) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = list.find_first_of(",/");
    parts.push_back(list.substr(0, end));
    if (end == std::string_view::npos) return parts;
    list.remove_prefix(end + 1);
  }
}

template <typename T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

Result<std::vector<int>> parse_cards(std::string_view list) {
  std::vector<int> cards;
  for (std::string_view part : list_parts(list)) {
    const std::string_view whole = part;
    std::string_view name = "cuda";
    while (!name.empty() && !part.empty() && std::tolower(static_cast<unsigned char>(part.front())) == name.front()) {
      part.remove_prefix(1);
      name.remove_prefix(1);
    }
    int card = -1;
    const bool named = name.empty() || part.size() == whole.size();
    if (!named || !parse_number(part, card) || card < 0) {
      return Error{fmt::format("--device {:.80}: expected numbers of cards, as 0,1 or cuda0,cuda1, and found '{:.40}'",
                               list, whole)};
    }
    cards.push_back(card);
  }
  return cards;
}

Result<std::vector<double>> parse_shares(std::string_view list) {
  std::vector<double> shares;
  for (const std::string_view part : list_parts(list)) {
    double share = -1;
    if (!parse_number(part, share) || !(share >= 0)) {
      return Error{
          fmt::format("--tensor-split {:.80}: expected shares of 0 or more, as 3,1, and found '{:.40}'", list, part)};
    }
    shares.push_back(share);
  }
  return shares;
}

}  // namespace

Status CardOptions::apply(GpuOptions& gpu) const {
  if (!device.empty()) {
    S3D_ASSIGN(gpu.cards, parse_cards(device));
  }
  if (!tensor_split.empty()) {
    S3D_ASSIGN(gpu.shares, parse_shares(tensor_split));
  }
  if (split_mode == "row" || split_mode == "tensor") {
    return Error{
        fmt::format("--split-mode {} is not there: cards share a model by layers; expected layer or none", split_mode)};
  }
  if (!split_mode.empty() && split_mode != "layer" && split_mode != "none") {
    return Error{fmt::format("--split-mode '{:.40}' is not known; expected layer or none", split_mode)};
  }
  if (split_mode != "none") {
    if (main_gpu == -1) return Ok();
    return Error{"--main-gpu is the card of --split-mode none; layers are divided without a main card"};
  }
  if (!device.empty() || !tensor_split.empty()) {
    return Error{"--split-mode none is for one card, that of --main-gpu: expected no --device and no --tensor-split"};
  }
  if (main_gpu < -1) return Error{fmt::format("--main-gpu must be 0 or more, got {}", main_gpu)};
  gpu.cards = {main_gpu == -1 ? 0 : main_gpu};
  return Ok();
}

}  // namespace s3d::cli
