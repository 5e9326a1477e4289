// What `data` and `record` write beside the text.
#pragma once

#include <string>

#include "model/layer_set.h"
#include "train/base_record.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace s3d::train {

// An option of the form A+Z.
CLI::Option* add_layers(CLI::App& command, const std::string& name, LayerSet& layers, const std::string& help);

void add_record_options(CLI::App& command, RecordOptions& record);

}  // namespace s3d::train
