"""A server for the page's tests: it serves web/ as the program does and answers chats by a script, without a model.

What it answers depends on the last word of the question: "slow" streams until the client leaves, "hostile" sends text
that tries to become HTML, "error" fails, "late" fails in mid-answer, anything else gets Markdown with drafts.
"""
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WEB = Path(__file__).resolve().parents[2] / "web"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
# As the program sends it with every file of the page.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")

HOSTILE = ("<script>window.broken = 1</script><img src=x onerror='window.broken = 2'>\n\n"
           "[click](javascript:window.broken=3) [fine](https://example.org/a) <b>bold</b>\n\n"
           "```html\n</code></pre><script>window.broken = 4</script>\n```\n\n| a | <i>b</i> |\n|---|---|\n| 1 | **two** |\n")
GOOD = ("# Title\n\nSome **bold** text, `code` and a list:\n\n1. one\n2. two\n   - inner\n\n```python\nprint('hello')\n```\n"
        "\n> quoted\n\nEnd.")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except ConnectionError:  # a browser that left
            pass

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.asked.append(self.path)
        name = "index.html" if self.path == "/" else self.path[1:].split("?")[0]
        if name == "v1/models":
            return self.reply(200, "application/json", json.dumps({"data": [{"id": "fake-model"}]}).encode())
        if name == "metrics":
            return self.reply(200, "text/plain", b"vllm:num_requests_running 1\nvllm:generation_tokens_total 42\n"
                              b"vllm:kv_cache_usage_perc 0.25\n")
        if name == "slots":
            return self.reply(200, "application/json", b'[{"id": 0, "is_processing": true, "n_ctx": 2048}]')
        path = WEB / name
        if path.parent != WEB or not path.is_file():
            return self.reply(404, "text/plain", b"no such file")
        return self.reply(200, TYPES[path.suffix], path.read_bytes())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        word = body["messages"][-1]["content"].split()[-1]
        if word == "error":
            return self.reply(400, "application/json", b'{"error": {"message": "the fake server refuses"}}')
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.stream(word)
        except (BrokenPipeError, ConnectionResetError):
            self.server.left.set()

    def event(self, value):
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def stream(self, word):
        self.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        if word == "thinking":
            self.event({"choices": [{"delta": {"reasoning_content": "Let me think."}}]})
        text = HOSTILE if word == "hostile" else GOOD
        pieces = [text[i:i + 4] for i in range(0, len(text), 4)]
        if word == "slow":
            pieces = ["word "] * 2000
        for i, piece in enumerate(pieces):
            drafted = i % 3 != 2
            token = {"text": piece, "source": ["s3d", "suffix"][i % 2] if drafted else "target", "depth": i % 3 + 1 if drafted else 0,
                     "probability": 0.75 if drafted else 0, "drafted": 4}
            self.event({"choices": [{"delta": {"content": piece}}], "s3d": {"tokens": [token]}})
            if word == "late" and i == 5:
                self.event({"error": {"message": "the fake server broke"}})
                return
            time.sleep(0.02 if word == "slow" else 0.002)
        self.event({"choices": [{"delta": {}, "finish_reason": "stop"}],
                    "timings": {"predicted_per_second": 120.5, "prompt_ms": 250, "cache_n": 12},
                    "metrics": {"speculative_decoding": {"mean_acceptance_length": 2.5, "num_draft_tokens": 40,
                                                         "draft_acceptance_rate": 0.6}},
                    "s3d": {"plain_tokens_per_second": 60.25}})
        self.event({"choices": [], "usage": {"completion_tokens": 9}, "timings": {"predicted_per_second": 120.5,
                    "prompt_ms": 250, "cache_n": 12}})
        self.wfile.write(b"data: [DONE]\n\n")


def start():
    """Starts it on a port of its own; returns (server, url). `asked`, `bodies` and `left` tell what came."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.bodies, server.left = [], [], threading.Event()
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/"
