#!/usr/bin/env python3
"""Runs llama.cpp on the models of tests/data/models and saves what it says, for tests/families_test.cc.

    pip install numpy xllamacpp==2026.10.11549             # llama.cpp, prebuilt
    scripts/oracles/model_reference_logits.py tests/data/models

For a fixed random prompt, and some of its positions, the log-probabilities of every next token (that is, the logits up
to a constant per row). KV cache in F32, flash attention off, so that llama.cpp's only roundings are those of float
arithmetic and, for quantized weights, of its 8-bit activations. phi3 is run at two context sizes, because llama.cpp chooses its factors by them: 256
for a text within the original length (short ones), 512 for texts beyond it (long ones), where both agree with the
model's own rule, the length of the text.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
import xllamacpp

PROMPT_TOKENS = 64
POSITIONS = [0, 1, 20, 41, 63]


def server_for(path: pathlib.Path, context: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = context
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.fit_params = False
    params.warmup = False
    params.cache_prompt = False
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = 0
    return xllamacpp.Server(params)


def next_logprobs(server: xllamacpp.Server, prompt: list[int], vocab: int, letter: int) -> list[float]:
    """log p(token | prompt) for every token, before any sampling step.

    `letter` is made the sampled token: after a token that is not a whole character the server reports nothing.
    """
    answer = server.handle_completions({
        "prompt": prompt, "max_tokens": 1, "n_predict": 1, "n_probs": vocab, "logprobs": vocab, "temperature": 1.0,
        "cache_prompt": False, "post_sampling_probs": False, "logit_bias": [[letter, 1000.0]],
    })
    if isinstance(answer, (str, bytes)):
        answer = json.loads(answer)
    top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    assert answer["choices"][0]["logprobs"]["content"][0]["id"] == letter
    values = [None] * vocab
    for entry in top:
        values[entry["id"]] = entry["logprob"]
    assert None not in values, "a token has no log-probability"
    return values


def run(path: pathlib.Path, context: int, name: str, n_tokens=PROMPT_TOKENS, positions=POSITIONS) -> None:
    reader = gguf.GGUFReader(path)
    vocab = next(int(t.shape[1]) for t in reader.tensors if t.name == "token_embd.weight")
    tokens = np.random.Generator(np.random.PCG64(7)).integers(4, vocab, n_tokens).tolist()
    letter = reader.get_field("tokenizer.ggml.tokens").contents().index("a")
    server = server_for(path, context)
    rows = [next_logprobs(server, tokens[:p + 1], vocab, letter) for p in positions]
    out = path.parent / f"{name}.json"
    with open(out, "w") as f:
        json.dump({"model": path.name, "made_by": f"llama.cpp through xllamacpp {xllamacpp.__version__}",
                   "context": context, "tokens": tokens, "positions": positions,
                   "logprobs": [[float(f"{v:.8g}") for v in row] for row in rows]}, f)
        f.write("\n")
    print(out, flush=True)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.gguf")):
        run(path, 256, path.stem)
        if path.name.startswith("phi3"):
            run(path, 512, path.stem + "-long", 300, [256, 270, 299])
    return 0


if __name__ == "__main__":
    sys.exit(main())
