#include "train/cli/record_options.h"

#include <CLI/CLI.hpp>

namespace s3d::train {

CLI::Option* add_layers(CLI::App& command, const std::string& name, LayerSet& layers, const std::string& help) {
  const auto read = [&layers, name](const std::string& text) {
    const Result<LayerSet> set = parse_layer_set(text);
    if (!set.ok()) throw CLI::ValidationError(name + " " + set.error().message);
    layers = *set;
  };
  return command.add_option_function<std::string>(name, read, help)->type_name("A+Z");
}

void add_record_options(CLI::App& command, RecordOptions& record) {
  constexpr int kMaxSoft = 4096;  // of more, the least probable never matter
  add_layers(command, "--record-layers", record.layers,
             "write base records: keys and values of these first and last layers, for training");
  command.add_option("--record-soft", record.soft, "most probable tokens in base records")
      ->check(CLI::Range(0, kMaxSoft))
      ->capture_default_str();
  command.add_flag("--record-states", record.states,
                   "hidden states in base records too, for --state-rank, EAGLE and Medusa");
}

}  // namespace s3d::train
