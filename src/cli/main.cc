#include "cli/program.h"

int main(int argc, char** argv) {
  return s3d::cli::run_program(argc, argv);
}
