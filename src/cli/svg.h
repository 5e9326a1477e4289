// Pieces of charts as SVG, in one style.
#pragma once

#include <array>
#include <string>

namespace s3d::cli::svg {

inline constexpr std::array<const char*, 4> kColors = {"#0969da", "#bc4c00", "#1a7f37", "#8250df"};
inline constexpr const char* kInk = "#1f2328";
inline constexpr const char* kSoft = "#59636e";
inline constexpr const char* kGrid = "#e4e8ec";

// Text of a document: what has a meaning in SVG is written out.
std::string escaped(const std::string& text);

// `anchor`: start, middle or end.
std::string label(double x, double y, const std::string& text, const char* color, const char* anchor);
std::string line(double x1, double y1, double x2, double y2, const char* color);
std::string dot(double x, double y, const char* color);

// A document on white with `body` in it.
std::string document(double width, double height, const std::string& body);

// A round number of at least `value`: 1, 2 or 5 times a power of ten, not below `least`.
double round_up(double value, double least = 1);

}  // namespace s3d::cli::svg
