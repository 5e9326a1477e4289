// s3d-train pack: the tokens of a text as a small file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "model/fingerprint.h"
#include "train/cli/program.h"
#include "train/cli/target.h"
#include "train/dataset.h"

namespace s3d::train {
namespace {

struct PackCommand {
  std::string model, out, note;
  std::vector<std::string> data;
};

Result<int> run_pack(const PackCommand& run) {
  constexpr int kMaxLength = 1 << 20;
  S3D_ASSIGN(const Target target, open_target(run.model));
  S3D_ASSIGN(const Dataset data, read_dataset(run.data, target.config.vocab_size, kMaxLength));
  const std::string packed =
      pack_text(data, {target.config.name, fingerprint_text(base_fingerprint(target.file)), run.note});
  S3D_TRY(write_file_atomically(run.out, std::as_bytes(std::span(packed))));
  const nlohmann::json report = {{"out", run.out},
                                 {"bytes", packed.size()},
                                 {"sequences", data.sequences.size()},
                                 {"tokens", data.tokens()},
                                 {"answer_tokens", data.answer_tokens()}};
  fmt::print("{}\n", report.dump(2));
  return kExitOk;
}

}  // namespace

void add_pack(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("pack", "make a small file of a text's token ids, which --data takes");
  auto options = std::make_shared<PackCommand>();
  add_target_option(*command, options->model);
  command->add_option("--data", options->data, "text of s3d-train data")->required()->check(CLI::ExistingFile);
  command->add_option("-o,--out", options->out, "the file, compressed with zstd")->required();
  command->add_option("--note", options->note, "where the text is from, for readers");
  on_chosen(*command, program, [options](const Program&) { return run_pack(*options); });
}

}  // namespace s3d::train
