// What the programs tell their caller when they end (docs/cli.md).
#pragma once

namespace s3d {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,       // something failed while running; the message says what
  kExitUsage = 2,         // the command line is wrong; nothing was done
  kExitInterrupted = 130  // Ctrl-C
};

}  // namespace s3d
