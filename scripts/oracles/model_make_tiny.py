#!/usr/bin/env python3
"""Writes the tiny random GGUF models of tests/data/models: one per family in F32, and one llama per weight type.

    pip install numpy gguf==0.19.0 libggml-python==0.20.2.post1
    scripts/oracles/model_make_tiny.py tests/data/models

The same bytes every time (fixed seeds). The shapes are odd on purpose: head sizes that are not d_model / n_heads, widths
that are not multiples of 64, a vocabulary that is not a multiple of 16, windows shorter than the test's prompt.
"""
import ctypes
import importlib.util
import math
import os
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type


def ggml_base() -> ctypes.CDLL:
    """ggml's own quantizers: the library named by GGML_BASE_LIB, or the one of PyPI's libggml-python."""
    path = os.environ.get("GGML_BASE_LIB")
    if path is None:
        package = importlib.util.find_spec("libggml").submodule_search_locations[0]
        path = pathlib.Path(package) / "lib64" / "libggml-base.so"
    lib = ctypes.CDLL(str(path))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                        ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    return lib


def encode(values: np.ndarray, kind: Type) -> np.ndarray:
    values = np.ascontiguousarray(values, dtype=np.float32)
    if kind == Type.F32:
        return values
    rows, cols = values.shape
    out = np.empty(gguf.quant_shape_to_byte_shape((rows, cols), kind), dtype=np.uint8)
    ggml_base().ggml_quantize_chunk(kind, values.ctypes.data, out.ctypes.data, 0, rows, cols, None)
    return out.view(np.float16) if kind == Type.F16 else out


class TinyModel:
    """Collects metadata and random tensors of one model."""

    def __init__(self, path: pathlib.Path, family: str, kind: Type, seed: int):
        self.path, self.kind = path, kind
        self.writer = gguf.GGUFWriter(path, family)
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.writer.add_name(path.stem)

    def shape(self, layers, d, ff, heads, kv_heads, head_dim, context, base, eps=1e-5):
        self.layers, self.d, self.ff = layers, d, ff
        self.q_dim, self.kv_dim, self.head_dim = heads * head_dim, kv_heads * head_dim, head_dim
        w = self.writer
        w.add_context_length(context)
        w.add_embedding_length(d)
        w.add_block_count(layers)
        w.add_feed_forward_length(ff)
        w.add_head_count(heads)
        w.add_head_count_kv(kv_heads)
        w.add_layer_norm_rms_eps(eps)
        w.add_rope_freq_base(base)
        w.add_file_type(0 if self.kind == Type.F32 else 1)

    def matrix(self, name, rows, cols, gain=1.0):
        """A weight of `gain` / sqrt(cols) a value: rows of unit-size activations keep their size."""
        values = self.random.standard_normal((rows, cols)) * (gain / math.sqrt(cols))
        encoded = encode(values, self.kind)
        raw = self.kind if self.kind not in (Type.F32, Type.F16) else None
        self.writer.add_tensor(name + ".weight", encoded, raw_dtype=raw)

    def norm(self, name, size):
        self.vector(name + ".weight", 1 + 0.2 * self.random.standard_normal(size))

    def vector(self, name, values):
        self.writer.add_tensor(name, np.asarray(values, dtype=np.float32))

    def ends(self, vocab, tied):
        self.matrix("token_embd", vocab, self.d, gain=1.0 if tied else math.sqrt(self.d))
        self.norm("output_norm", self.d)
        if not tied:
            self.matrix("output", vocab, self.d, gain=2.0)

    def attention(self, blk, bias=False, qk_norm=False, wide_qk_norm=False, fused=False, pre_norm=True,
                  post_norm=False):
        if pre_norm:
            self.norm(blk + "attn_norm", self.d)
        if fused:
            self.matrix(blk + "attn_qkv", self.q_dim + 2 * self.kv_dim, self.d, gain=1.3)
        for part, rows in () if fused else (("q", self.q_dim), ("k", self.kv_dim), ("v", self.kv_dim)):
            self.matrix(f"{blk}attn_{part}", rows, self.d, gain=1.3)
            if bias:
                self.vector(f"{blk}attn_{part}.bias", 0.5 * self.random.standard_normal(rows))
        if qk_norm:
            self.norm(blk + "attn_q_norm", self.head_dim)
            self.norm(blk + "attn_k_norm", self.head_dim)
        if wide_qk_norm:
            self.norm(blk + "attn_q_norm", self.q_dim)
            self.norm(blk + "attn_k_norm", self.kv_dim)
        self.matrix(blk + "attn_output", self.d, self.q_dim)
        if post_norm:
            self.norm(blk + "post_attention_norm", self.d)

    def feed_forward(self, blk, fused=False, pre_norm=True, post_norm=False):
        if pre_norm:
            self.norm(blk + "ffn_norm", self.d)
        if fused:
            self.matrix(blk + "ffn_up", 2 * self.ff, self.d, gain=1.5)
        else:
            self.matrix(blk + "ffn_gate", self.ff, self.d, gain=1.5)
            self.matrix(blk + "ffn_up", self.ff, self.d, gain=1.5)
        self.matrix(blk + "ffn_down", self.d, self.ff)
        if post_norm:
            self.norm(blk + "post_ffw_norm", self.d)

    def blocks(self, *, bias=False, qk_norm=False, wide_qk_norm=False, fused=False, pre_norm=True, post_norm=False):
        for i in range(self.layers):
            self.attention(f"blk.{i}.", bias, qk_norm, wide_qk_norm, fused, pre_norm, post_norm)
            self.feed_forward(f"blk.{i}.", fused, pre_norm, post_norm)

    def byte_level_bpe(self, pre):
        """Two control tokens, the printable ASCII characters, space, newline, and a few merges: 106 tokens."""
        merges = ["t h", "h e", "i n", "e r", "th e", "a n", "Ġ the", "o n"]
        tokens = ["<|bos|>", "<|eos|>"] + [chr(c) for c in range(0x21, 0x7F)] + ["Ġ", "Ċ"]
        tokens += [merge.replace(" ", "") for merge in merges]
        w = self.writer
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list(tokens)
        w.add_token_types([3, 3] + [1] * (len(tokens) - 2))
        w.add_token_merges(merges)
        w.add_bos_token_id(0)
        w.add_eos_token_id(1)
        w.add_add_bos_token(False)
        return len(tokens)

    def sentencepiece(self, pad):
        """Four control tokens, 256 bytes, the letters and a few words with scores: 314 tokens."""
        words = ["▁the", "▁a", "in", "er", "on", "he", "th", "an", "▁t", "▁i"]
        letters = ["▁"] + [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("ABCDEFGHIJKLM.,!?")
        tokens = ["<unk>", "<s>", "</s>", pad] + [f"<0x{b:02X}>" for b in range(256)] + words + letters
        w = self.writer
        w.add_tokenizer_model("llama")
        w.add_tokenizer_pre("default")
        w.add_token_list(tokens)
        w.add_token_types([2, 3, 3, 3] + [6] * 256 + [1] * (len(tokens) - 260))
        w.add_token_scores([0.0] * 260 + [-float(i) for i in range(len(tokens) - 260)])
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)
        w.add_unk_token_id(0)
        w.add_pad_token_id(3)
        w.add_add_bos_token(True)
        return len(tokens)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        print(self.path, self.path.stat().st_size)


def llama3_factors(dims, base, original_context, factor=8.0, low=1.0, high=4.0):
    """Llama 3's frequency divisors: 1 for short waves, `factor` for long ones, a smooth step between."""
    factors = []
    for i in range(dims // 2):
        wave = 2 * math.pi * base ** (2 * i / dims)
        smooth = (original_context / wave - low) / (high - low)
        factors.append(1 / (smooth + (1 - smooth) / factor) if 0 < smooth < 1 else (1 if smooth >= 1 else factor))
    return factors


def make_llama(path, kind, seed, d=96, ff=160, heads=6, kv_heads=2, head_dim=16, layers=2):
    m = TinyModel(path, "llama", kind, seed)
    m.shape(layers, d, ff, heads, kv_heads, head_dim, context=512, base=10000.0)
    m.writer.add_rope_dimension_count(head_dim)
    m.writer.add_key_length(head_dim)
    m.writer.add_value_length(head_dim)
    vocab = m.byte_level_bpe("llama-bpe")
    m.writer.add_vocab_size(vocab)
    m.ends(vocab, tied=False)
    m.vector("rope_freqs.weight", llama3_factors(head_dim, 10000.0, original_context=128))
    m.blocks()
    m.close()


def make_qwen2(path, kind, seed):
    m = TinyModel(path, "qwen2", kind, seed)
    m.shape(layers=2, d=64, ff=160, heads=4, kv_heads=2, head_dim=16, context=512, base=1e6, eps=1e-6)
    m.ends(m.byte_level_bpe("qwen2"), tied=True)
    m.blocks(bias=True)
    m.close()


def make_qwen3(path, kind, seed):
    m = TinyModel(path, "qwen3", kind, seed)
    m.shape(layers=2, d=64, ff=96, heads=4, kv_heads=2, head_dim=32, context=512, base=1e6, eps=1e-6)
    m.writer.add_key_length(32)
    m.writer.add_value_length(32)
    m.ends(m.byte_level_bpe("qwen2"), tied=False)
    m.blocks(qk_norm=True)
    m.close()


def make_phi3(path, kind, seed):
    """Long and short factors: contexts above 256 take the long ones. A window of 24 positions."""
    m = TinyModel(path, "phi3", kind, seed)
    m.shape(layers=2, d=96, ff=128, heads=3, kv_heads=3, head_dim=32, context=1024, base=10000.0)
    w = m.writer
    w.add_rope_dimension_count(32)
    w.add_rope_scaling_orig_ctx_len(256)
    w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(1024 / 256) / math.log(256)))
    w.add_sliding_window(24)
    m.ends(m.sentencepiece(pad="<|endoftext|>"), tied=False)
    m.vector("rope_factors_short.weight", np.linspace(1.0, 1.5, 16))
    m.vector("rope_factors_long.weight", np.geomspace(1.0, 12.0, 16))
    m.blocks(fused=True)
    m.close()


def make_gemma3(path, kind, seed):
    """Layer 5 of 7 sees everything, with linear RoPE scaling; the others see 16 positions."""
    m = TinyModel(path, "gemma3", kind, seed)
    m.shape(layers=7, d=64, ff=96, heads=2, kv_heads=1, head_dim=32, context=512, base=1e6, eps=1e-6)
    w = m.writer
    w.add_key_length(32)
    w.add_value_length(32)
    w.add_sliding_window(16)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(8.0)
    m.ends(m.sentencepiece(pad="<pad>"), tied=True)
    m.blocks(qk_norm=True, post_norm=True)
    m.close()


def make_gemma2(path, kind, seed):
    """Layers 0 and 2 of 4 see 16 positions. The caps are low, so that they matter for random weights."""
    m = TinyModel(path, "gemma2", kind, seed)
    m.shape(layers=4, d=64, ff=96, heads=4, kv_heads=2, head_dim=32, context=512, base=10000.0, eps=1e-6)
    w = m.writer
    w.add_key_length(32)
    w.add_value_length(32)
    w.add_sliding_window(16)
    w.add_attn_logit_softcapping(2.0)
    w.add_final_logit_softcapping(5.0)
    m.ends(m.sentencepiece(pad="<pad>"), tied=True)
    m.blocks(post_norm=True)
    m.close()


def make_granite(path, kind, seed):
    m = TinyModel(path, "granite", kind, seed)
    m.shape(layers=2, d=96, ff=160, heads=6, kv_heads=2, head_dim=16, context=512, base=10000.0)
    w = m.writer
    w.add_rope_dimension_count(16)
    w.add_embedding_scale(3.0)
    w.add_residual_scale(0.25)
    w.add_attention_scale(0.2)
    w.add_logit_scale(4.0)
    vocab = m.byte_level_bpe("refact")
    w.add_vocab_size(vocab)
    m.ends(vocab, tied=True)
    m.blocks()
    m.close()


def make_mistral3(path, kind, seed):
    """YaRN by 4 beyond 128 positions."""
    m = TinyModel(path, "mistral3", kind, seed)
    m.shape(layers=2, d=96, ff=160, heads=6, kv_heads=2, head_dim=16, context=512, base=10000.0)
    w = m.writer
    w.add_rope_dimension_count(16)
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(4.0)
    w.add_rope_scaling_orig_ctx_len(128)
    vocab = m.byte_level_bpe("tekken")
    w.add_vocab_size(vocab)
    m.ends(vocab, tied=False)
    m.blocks()
    m.close()


def make_olmo2(path, kind, seed):
    """As OLMo 3: layers 0 to 2 of 4 see 16 positions and have plain RoPE, the last one has YaRN."""
    m = TinyModel(path, "olmo2", kind, seed)
    m.shape(layers=4, d=96, ff=80, heads=6, kv_heads=2, head_dim=16, context=512, base=10000.0)
    w = m.writer
    w.add_sliding_window(16)
    w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    w.add_rope_scaling_factor(4.0)
    w.add_rope_scaling_orig_ctx_len(128)
    vocab = m.byte_level_bpe("olmo")
    w.add_vocab_size(vocab)
    m.ends(vocab, tied=False)
    m.blocks(wide_qk_norm=True, pre_norm=False, post_norm=True)
    m.close()


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    families = {"llama": make_llama, "qwen2": make_qwen2, "qwen3": make_qwen3, "phi3": make_phi3,
                "gemma3": make_gemma3, "gemma2": make_gemma2, "granite": make_granite, "mistral3": make_mistral3,
                "olmo2": make_olmo2}
    for seed, (family, make) in enumerate(families.items()):
        make(folder / f"{family}-f32.gguf", Type.F32, seed)
    for kind in (Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1):
        make_llama(folder / f"llama-{kind.name.lower()}.gguf", kind, seed=100 + kind)
    for kind in (Type.Q4_K, Type.Q5_K, Type.Q6_K):  # blocks of 256 columns
        make_llama(folder / f"llama-{kind.name.lower()}.gguf", kind, seed=100 + kind, d=256, ff=256, heads=8,
                   kv_heads=2, head_dim=32, layers=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
