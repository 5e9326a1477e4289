#include "train/cli/program.h"

int main(int argc, char** argv) {
  return s3d::train::run_program(argc, argv);
}
