"""Stands in for xgrammar's build system while scripts/setup downloads its sources.

pip asks the build system of a source package for its name before it saves the package. The real one would be fetched
without a hash, and run. This one builds nothing: it says what scripts/requirements-grammar.txt asked for.
"""

from pathlib import Path


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    lines = Path("PKG-INFO").read_text(encoding="utf-8").splitlines()
    field = {key: next(line for line in lines if line.startswith(key + ": ")) for key in ("Name", "Version")}
    folder = "-".join(line.split(": ", 1)[1] for line in field.values()) + ".dist-info"
    (Path(metadata_directory) / folder).mkdir()
    (Path(metadata_directory) / folder / "METADATA").write_text(
        "Metadata-Version: 2.1\n" + "\n".join(field.values()) + "\n", encoding="utf-8")
    return folder


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    raise NotImplementedError("only the sources are wanted")
