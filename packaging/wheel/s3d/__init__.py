"""The program s3d, packed for pip; see https://packaging.python.org/en/latest/specifications/entry-points/."""

import os
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent / "bin" / "s3d"


def main():
    """Becomes the program: signals, terminal and exit code are its own."""
    os.execv(PROGRAM, [str(PROGRAM), *sys.argv[1:]])
