"""A thin ctypes view of llama.cpp's C interface, just wide enough to time and score a model.

Two PyPI packages can stand behind it:

* `xllamacpp` is a wheel whose extension module exports the whole C interface and whose CPU code is compiled for AVX2,
  FMA and F16C. It needs no compiler. The structures below are those of the version pinned in `engines.py`.
* `llama-cpp-python` is compiled on this machine for this machine's instruction set and brings structure definitions of
  its own.

Import this module with the Python of a virtual environment that `engines.py` made.
"""

import ctypes as ct
import glob
import importlib.util
import os

_LOG_WARNING = 3  # lower levels tell of details
_LOG_CALLBACK = ct.CFUNCTYPE(None, ct.c_int, ct.c_char_p, ct.c_void_p)


class _PrebuiltModelParams(ct.Structure):
    _fields_ = [
        ("devices", ct.c_void_p),
        ("tensor_buft_overrides", ct.c_void_p),
        ("n_gpu_layers", ct.c_int32),
        ("split_mode", ct.c_int),
        ("load_mode", ct.c_int),
        ("lazy_mode", ct.c_int),
        ("main_gpu", ct.c_int32),
        ("tensor_split", ct.c_void_p),
        ("progress_callback", ct.c_void_p),
        ("progress_callback_user_data", ct.c_void_p),
        ("kv_overrides", ct.c_void_p),
        ("vocab_only", ct.c_bool),
        ("check_tensors", ct.c_bool),
        ("use_extra_bufts", ct.c_bool),
        ("no_host", ct.c_bool),
        ("no_alloc", ct.c_bool),
        ("load_mtp", ct.c_bool),
    ]


class _PrebuiltContextParams(ct.Structure):
    _fields_ = [
        ("n_ctx", ct.c_uint32),
        ("n_batch", ct.c_uint32),
        ("n_ubatch", ct.c_uint32),
        ("n_seq_max", ct.c_uint32),
        ("n_rs_seq", ct.c_uint32),
        ("n_outputs_max", ct.c_uint32),
        ("n_outputs_max_per_seq", ct.c_uint32),
        ("n_threads", ct.c_int32),
        ("n_threads_batch", ct.c_int32),
        ("ctx_type", ct.c_int),
        ("rope_scaling_type", ct.c_int),
        ("pooling_type", ct.c_int),
        ("attention_type", ct.c_int),
        ("flash_attn_type", ct.c_int),
        ("rope_freq_base", ct.c_float),
        ("rope_freq_scale", ct.c_float),
        ("yarn_ext_factor", ct.c_float),
        ("yarn_attn_factor", ct.c_float),
        ("yarn_beta_fast", ct.c_float),
        ("yarn_beta_slow", ct.c_float),
        ("yarn_orig_ctx", ct.c_uint32),
        ("defrag_thold", ct.c_float),
        ("cb_eval", ct.c_void_p),
        ("cb_eval_user_data", ct.c_void_p),
        ("type_k", ct.c_int),
        ("type_v", ct.c_int),
        ("moe_cache_size", ct.c_size_t),
        ("abort_callback", ct.c_void_p),
        ("abort_callback_data", ct.c_void_p),
        ("embeddings", ct.c_bool),
        ("offload_kqv", ct.c_bool),
        ("no_perf", ct.c_bool),
        ("op_offload", ct.c_bool),
        ("swa_full", ct.c_bool),
        ("kv_unified", ct.c_bool),
        ("samplers", ct.c_void_p),
        ("n_samplers", ct.c_size_t),
        ("ctx_other", ct.c_void_p),
    ]


class _PrebuiltBatch(ct.Structure):
    _fields_ = [
        ("n_tokens", ct.c_int32),
        ("token", ct.POINTER(ct.c_int32)),
        ("embd", ct.POINTER(ct.c_float)),
        ("pos", ct.POINTER(ct.c_int32)),
        ("n_seq_id", ct.POINTER(ct.c_int32)),
        ("seq_id", ct.POINTER(ct.POINTER(ct.c_int32))),
        ("logits", ct.POINTER(ct.c_int8)),
    ]


def _package_folder(name):
    spec = importlib.util.find_spec(name)
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def _load_library():
    """Returns (library, model params type, context params type, batch type) of the package that is installed."""
    folder = _package_folder("xllamacpp")
    if folder:
        library = ct.CDLL(glob.glob(os.path.join(folder, "xllamacpp*.so"))[0])
        return library, _PrebuiltModelParams, _PrebuiltContextParams, _PrebuiltBatch
    if _package_folder("llama_cpp"):
        from llama_cpp import llama_cpp as native

        path = native._lib._name  # the library it loaded; a second handle keeps its prototypes apart from ours
        return ct.CDLL(path), native.llama_model_params, native.llama_context_params, native.llama_batch
    raise RuntimeError("this Python has neither xllamacpp nor llama-cpp-python; run bench/peers/run --setup")


class _Api:
    """The functions that are used, with their prototypes."""

    def __init__(self):
        lib, self.ModelParams, self.ContextParams, self.Batch = _load_library()
        self.lib = lib
        pointer, i32, boolean, text = ct.c_void_p, ct.c_int32, ct.c_bool, ct.c_char_p
        for name, result, arguments in [
            ("llama_backend_init", None, []),
            ("llama_log_set", None, [_LOG_CALLBACK, pointer]),
            ("llama_print_system_info", text, []),
            ("llama_model_default_params", self.ModelParams, []),
            ("llama_context_default_params", self.ContextParams, []),
            ("llama_model_load_from_file", pointer, [text, self.ModelParams]),
            ("llama_model_free", None, [pointer]),
            ("llama_model_get_vocab", pointer, [pointer]),
            ("llama_vocab_n_tokens", i32, [pointer]),
            ("llama_vocab_bos", i32, [pointer]),
            ("llama_vocab_get_add_bos", boolean, [pointer]),
            ("llama_init_from_model", pointer, [pointer, self.ContextParams]),
            ("llama_free", None, [pointer]),
            ("llama_n_ctx", ct.c_uint32, [pointer]),
            ("llama_get_memory", pointer, [pointer]),
            ("llama_memory_clear", None, [pointer, boolean]),
            ("llama_memory_seq_rm", boolean, [pointer, i32, i32, i32]),
            ("llama_batch_init", self.Batch, [i32, i32, i32]),
            ("llama_batch_free", None, [self.Batch]),
            ("llama_decode", i32, [pointer, self.Batch]),
            ("llama_synchronize", None, [pointer]),
            ("llama_get_logits_ith", ct.POINTER(ct.c_float), [pointer, i32]),
            ("llama_tokenize", i32, [pointer, text, i32, ct.POINTER(i32), i32, boolean, boolean]),
            ("llama_token_to_piece", i32, [pointer, i32, text, i32, i32, boolean]),
        ]:
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = arguments

    def check_layout(self):
        """Fails when the library's structures are not the ones declared here, as a changed version's would be."""
        params = self.llama_context_default_params()
        found = (params.n_ctx, params.n_batch, params.n_ubatch, params.type_k, params.type_v)
        if found != (512, 2048, 512, 1, 1):
            raise RuntimeError(f"llama.cpp's defaults read back as {found}: the library is not the pinned version")

    def __getattr__(self, name):
        return getattr(self.lib, name)


class Model:
    """A loaded model with one context of `n_ctx` positions and one sequence.

    Not thread-safe. `threads` serves single rows and batches alike.
    """

    def __init__(self, path, threads=2, n_ctx=2048, n_batch=512):
        self.api = _Api()
        self.api.check_layout()
        self._log_lines = []
        self._log = _LOG_CALLBACK(self._keep_log_line)
        self.api.llama_log_set(self._log, None)
        self.api.llama_backend_init()
        self.model = self.api.llama_model_load_from_file(os.fsencode(path), self.api.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}: " + "".join(self._log_lines[-5:]))
        params = self.api.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, n_batch, n_batch
        params.n_threads = params.n_threads_batch = threads
        self.context = self.api.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp cannot make a context: " + "".join(self._log_lines[-5:]))
        self.vocab = self.api.llama_model_get_vocab(self.model)
        self.n_vocab = self.api.llama_vocab_n_tokens(self.vocab)
        self.memory = self.api.llama_get_memory(self.context)
        self.batch = self.api.llama_batch_init(n_batch, 0, 1)
        self.n_batch = n_batch

    def _keep_log_line(self, level, line, _):
        if level >= _LOG_WARNING:
            self._log_lines.append(line.decode("utf-8", "replace"))

    def system_info(self):
        return self.api.llama_print_system_info().decode()

    def clear(self):
        self.api.llama_memory_clear(self.memory, False)

    def drop_from(self, position):
        """Forgets the keys and values at `position` and after it."""
        if not self.api.llama_memory_seq_rm(self.memory, 0, position, -1):
            raise RuntimeError(f"llama.cpp refused to drop positions from {position}")

    def decode(self, tokens, position, logits="all"):
        """Runs `tokens` as one chain at `position`; `logits` is "all", "last", or the first row that wants them.

        Returns when the work is done. Rows' logits are read with `logits_row`.
        """
        n = len(tokens)
        if n > self.n_batch:
            raise ValueError(f"{n} tokens in a batch of {self.n_batch}")
        first = {"all": 0, "last": n - 1}.get(logits, logits)
        batch = self.batch
        batch.n_tokens = n
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1 if i >= first else 0
        status = self.api.llama_decode(self.context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status} for {n} tokens at position {position}")
        self.api.llama_synchronize(self.context)

    def logits_row(self, row):
        """Pointer to the `n_vocab` float logits of batch row `row`; valid until the next `decode`."""
        return self.api.llama_get_logits_ith(self.context, row)

    def add_bos(self):
        return bool(self.api.llama_vocab_get_add_bos(self.vocab))

    def bos(self):
        return self.api.llama_vocab_bos(self.vocab)

    def tokenize(self, text, add_special=False, parse_special=False):
        """Token ids of `text` (str or bytes)."""
        data = text.encode("utf-8") if isinstance(text, str) else text
        room = len(data) + 8
        ids = (ct.c_int32 * room)()
        n = self.api.llama_tokenize(self.vocab, data, len(data), ids, room, add_special, parse_special)
        if n < 0:
            raise RuntimeError(f"llama_tokenize returned {n}")
        return list(ids[:n])

    def piece(self, token, special=False):
        """The bytes that `token` stands for."""
        room = 256
        buffer = ct.create_string_buffer(room)
        n = self.api.llama_token_to_piece(self.vocab, token, buffer, room, 0, special)
        if n < 0:
            buffer = ct.create_string_buffer(-n)
            n = self.api.llama_token_to_piece(self.vocab, token, buffer, -n, 0, special)
        return buffer.raw[:n]

    def close(self):
        self.api.llama_batch_free(self.batch)
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)
