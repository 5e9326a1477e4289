"""The part of the peers' tools that runs inside llama.cpp's own virtual environment; prints one JSON object.

worker.py bench MODEL [--threads N] [--depth N] [--prompt N] [--decode N] [--rows N] [--passes N]
worker.py perplexity MODEL --tokens FILE [--threads N] [--window N]
worker.py tokenize MODEL --text FILE
"""

import argparse
import json
import math
import statistics
import sys
import time

import numpy as np

from llama_api import Model


def timed(action):
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def some_tokens(model, count, seed):
    """`count` token ids from a fixed linear congruential sequence; which ones they are does not change the work."""
    ids, state = [], seed
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        ids.append((state >> 33) % min(model.n_vocab, 30000))
    return ids


def time_prefill(model, prompt):
    """Seconds for `prompt` from an empty cache to the last row's logits."""
    model.clear()
    return timed(lambda: model.decode(prompt, 0, "last"))


def time_decode(model, depth, count):
    """Median seconds of a one-row pass while `count` tokens are added one by one from position `depth`."""
    tokens = some_tokens(model, count + 2, 2)
    seconds = [timed(lambda i=i: model.decode([tokens[i]], depth + i)) for i in range(count + 2)]
    model.drop_from(depth)
    return statistics.median(seconds[2:])


def time_pass(model, depth, rows, passes):
    """Seconds of each of `passes` passes over `rows` rows at `depth`, all rows with logits.

    One more pass goes first, untimed, because llama.cpp builds a new graph whenever the number of rows changes.
    """
    tokens = some_tokens(model, rows, 3)
    seconds = []
    for _ in range(passes + 1):
        seconds.append(timed(lambda: model.decode(tokens, depth)))
        model.drop_from(depth)
    return seconds[1:]


def bench(options):
    model = Model(options.model, options.threads, n_ctx=options.prompt + options.decode + 128, n_batch=512)
    prompt = some_tokens(model, options.prompt, 1)
    time_prefill(model, prompt[:64])
    prefill = time_prefill(model, prompt)
    model.clear()
    model.decode(prompt[:1], 0)
    decode = time_decode(model, 1, options.decode)
    model.clear()
    model.decode(prompt[: options.depth], 0, "last")
    by_rows = [[] for _ in range(options.rows)]
    for _ in range(2):
        for rows in range(1, options.rows + 1):
            by_rows[rows - 1] += time_pass(model, options.depth, rows, options.passes)
    seconds = [statistics.median(times) for times in by_rows]
    return {
        "prefill_tps": options.prompt / prefill,
        "decode_tps": 1 / decode,
        "pass_ms": [1000 * s for s in seconds],
        "pass_cost": [s / seconds[0] for s in seconds],
        "threads": options.threads,
        "depth": options.depth,
        "prompt_tokens": options.prompt,
        "system_info": model.system_info(),
    }


def negative_log_likelihood(logits, target):
    """−ln softmax(logits)[target] in double precision; `logits` is a NumPy array."""
    wide = logits.astype("float64")
    top = wide.max()
    return float(top + math.log(np.exp(wide - top).sum()) - wide[target])


def perplexity(options):
    with open(options.tokens) as file:
        tokens = [int(word) for word in file.read().split()]
    window = options.window
    model = Model(options.model, options.threads, n_ctx=window, n_batch=window)
    half, total, count = window // 2, 0.0, 0
    for start in range(0, len(tokens) - window + 1, window):
        chunk = tokens[start : start + window]
        rows = [model.bos()] + chunk[1:] if model.add_bos() else chunk
        model.clear()
        model.decode(rows, 0, half)
        for row in range(half, window - 1):
            logits = np.ctypeslib.as_array(model.logits_row(row), (model.n_vocab,))
            total += negative_log_likelihood(logits, chunk[row + 1])
            count += 1
    if count == 0:
        raise SystemExit(f"perplexity: {len(tokens)} tokens are less than one window of {window}")
    return {"perplexity": math.exp(total / count), "scored_tokens": count, "tokens": len(tokens), "window": window}


def tokenize(options):
    model = Model(options.model, 1, n_ctx=64, n_batch=64)
    with open(options.text, "rb") as file:
        return {"tokens": model.tokenize(file.read(), add_special=True)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["bench", "perplexity", "tokenize"])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depth", type=int, default=64, help="positions before a pass over several rows")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--tokens")
    parser.add_argument("--text")
    options = parser.parse_args()
    action = {"bench": bench, "perplexity": perplexity, "tokenize": tokenize}[options.what]
    try:
        print(json.dumps(action(options)))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
