"""Tests bench/strip-adapter on a shipped adapter: what is left is, byte by byte, what was there."""

import importlib.machinery
import importlib.util
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "bench/strip-adapter"
ADAPTER = ROOT / "adapters/smollm2-135m.gguf"


def load_tool():
    loader = importlib.machinery.SourceFileLoader("strip_adapter", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("strip_adapter", loader))
    sys.dont_write_bytecode = True  # beside the tool
    loader.exec_module(module)
    return module


class StripAdapterTest(unittest.TestCase):
    def run_tool(self, *arguments):
        return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)

    def test_only_the_named_parts_are_gone(self):
        read = load_tool().read
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out.gguf"
            self.assertEqual(self.run_tool(ADAPTER, target, "markov", "ngram").returncode, 0)
            before, after = read(ADAPTER.read_bytes()), read(target.read_bytes())
            self.assertEqual(list(Path(folder).iterdir()), [target])
        self.assertEqual(before[:3], after[:3])
        kept = {name: (shape, content) for name, shape, content in after[3]}
        for name, shape, content in before[3]:
            if name.startswith(("markov.", "ngram.")):
                self.assertNotIn(name, kept)
            else:
                self.assertEqual(kept[name], (shape, content), name)

    def test_what_cannot_be_done_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "out.gguf"
            self.assertIn("only go together", self.run_tool(ADAPTER, target, "draft_vocab").stderr)
            self.assertIn("none of these parts", self.run_tool(ADAPTER, target, "bridge").stderr)
            self.assertIn("not a GGUF file", self.run_tool(TOOL, target, "lora").stderr)
            self.assertEqual(self.run_tool(ADAPTER, target, "engine").returncode, 2)
            self.assertFalse(target.exists())


if __name__ == "__main__":
    unittest.main()
