"""What `run` and `perplexity` share: finding s3d and calling programs that answer in JSON."""

import json
import os
import subprocess
from pathlib import Path

from engines import PeerError

REPO = Path(__file__).resolve().parent.parent.parent


def find_s3d(given):
    """The s3d program: `given`, else $S3D_BIN, else the build folder's, else the one on the PATH."""
    built = REPO / "build/src/cli/s3d"
    return given or os.environ.get("S3D_BIN") or (str(built) if built.exists() else "s3d")


def run_json(command, stderr=subprocess.PIPE):
    """Runs `command` and returns the JSON object that it prints; PeerError says what went wrong."""
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=stderr, text=True)
    except OSError as error:
        hint = "build it with scripts/build or name it with --s3d"
        raise PeerError(f"cannot run {command[0]}: {error.strerror}; {hint}") from error
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{(done.stderr or '')[-2000:]}")
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise PeerError(f"{' '.join(command)} printed no JSON: {done.stdout[:200]!r}") from error
