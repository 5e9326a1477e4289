"""Tests that adapters/index.json is true: every adapter that is here is listed, with its size, hash and base."""

import hashlib
import json
import struct
import unittest
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "adapters"
STRING, ARRAY = 8, 9
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def metadata(path):
    """The metadata of a GGUF file: {key: value}."""
    with open(path, "rb") as file:

        def number(form):
            return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0]

        def text():
            return file.read(number("Q")).decode()

        def value(kind):
            if kind == ARRAY:
                element, count = number("I"), number("Q")
                return [value(element) for _ in range(count)]
            return text() if kind == STRING else number(FORMATS[kind])

        assert file.read(4) == b"GGUF" and number("I") == 3, f"{path} is no GGUF file of version 3"
        number("Q")  # tensors
        return {text(): value(number("I")) for _ in range(number("Q"))}


class AdaptersIndexTest(unittest.TestCase):
    def setUp(self):
        self.entries = json.loads((FOLDER / "index.json").read_text())["adapters"]

    def test_lists_every_adapter_that_is_here(self):
        listed = [entry["file"] for entry in self.entries]
        self.assertEqual(len(listed), len(set(listed)))
        self.assertLessEqual({path.name for path in FOLDER.glob("*.gguf")}, set(listed))

    def test_sizes_and_hashes(self):
        for entry in self.entries:
            path = FOLDER / entry["file"]
            if path.exists():  # one that is published elsewhere is only listed
                self.assertEqual(path.stat().st_size, entry["size"], path)
                self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), entry["sha256"], path)

    def test_bases(self):
        for entry in self.entries:
            path = FOLDER / entry["file"]
            if path.exists():
                found = metadata(path)
                self.assertEqual(found["s3d.base.fingerprint"], entry["base_fingerprint"], path)
                self.assertEqual(found["s3d.base.name"], entry["base_name"], path)


if __name__ == "__main__":
    unittest.main()
