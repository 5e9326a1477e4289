// Figures about a run, for people and for scripts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/console.h"
#include "engine/runtime.h"

namespace s3d::cli {

using Json = nlohmann::ordered_json;

// Largest resident size of this process so far, in bytes.
size_t peak_resident_bytes();

// "131.5 MiB"
std::string mebibytes(size_t bytes);

// What the closing line says beyond the generation's own timings.
struct RunFigures {
  double weight_gbps = 0;  // bytes of weights read per second while decoding, in 10^9
  double read_gbps = 0;    // what reading the same weights alone reaches, by the same threads
  size_t peak_rss = 0;
};

// All but `read_gbps`; `with_reading`: that too, which reads all weights again for at most about 0.2 s, or once.
RunFigures measure_run(const Runtime& runtime, const Timings& timings, bool with_reading);

// "prompt: 23 tokens, 412.1 tokens/s | answer: 128 tokens, 351.2 tokens/s, 87 % of … | peak memory: 131.5 MiB"; the
// share of the memory's bandwidth only where it was measured.
std::string closing_line(const Generation& generation, const RunFigures& figures);

// Which layers lie where: "0 to 3 on avx512 (12.0 MiB); 4 to 9 and the LM head on NVIDIA L4 (20.0 MiB)", for a field of
// a table "avx512:0-3 NVIDIA L4:4-9+head", and with all figures.
std::string division_text(const std::vector<BackendPart>& parts);
std::string division_field(const std::vector<BackendPart>& parts);
Json division_json(const std::vector<BackendPart>& parts);

// --verbose: model, instruction set, threads before; memory by purpose after.
void print_setup(const Runtime& runtime, const Console& console);
void print_memory(const Runtime& runtime, size_t peak_rss, const Console& console);

// A field of a CSV table, in quotes.
std::string csv_field(std::string text);

// JSON text; bytes that are no UTF-8 become U+FFFD.
std::string json_text(const Json& json);

}  // namespace s3d::cli
