"""Small random models in Hugging Face layout, saved to disk so that the real loading code runs on them."""

import atexit
import gc
import logging
import os
import signal
import time

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test may wait for a network
# Before torch is imported: the tests run in as many processes as there are cores, so one thread each is fastest.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch

from tests import once
from tests.command_line import Run, called

VOCABULARY = 300
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
GROUPED = {**SMALL, "intermediate_size": 48, "num_key_value_heads": 2}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# Sliding windows of 8 are shorter than the test sequences, so a wrong mask shows.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, **IDS}),
    "llama": ("Llama", {**GROUPED, **IDS}),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 8, **IDS}),
    "gemma2": ("Gemma2", {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8, **IDS}),
    "gemma3": ("Gemma3Text", {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 8, **IDS}),
    "qwen2": ("Qwen2", {**GROUPED, **IDS}),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 8, **IDS}),
    "gpt_neox": ("GPTNeoX", {**SMALL, "intermediate_size": 48, **IDS}),
    "gpt_neox_sequential": ("GPTNeoX", {**SMALL, "intermediate_size": 48, "use_parallel_residual": False, **IDS}),
    "phi": ("Phi", {**SMALL, "intermediate_size": 48, **IDS}),
    "phi3": ("Phi3", {**GROUPED, "sliding_window": 8, **IDS}),
    "olmo2": ("Olmo2", {**GROUPED, **IDS}),
    "gemma": ("Gemma", {**GROUPED, "head_dim": 8, **IDS}),
    "stablelm": ("StableLm", {**GROUPED, **IDS}),
    "granite": ("Granite", {**GROUPED, "residual_multiplier": 0.5, "embedding_multiplier": 2.0, **IDS}),
    "smollm3": ("SmolLM3", {**GROUPED, **IDS}),
    "bloom": ("Bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 3, "n_head": 4, **IDS}),
    "opt": (
        "OPT",
        {**SMALL, "ffn_dim": 48, "max_position_embeddings": 128, "word_embed_proj_dim": 32, **IDS},
    ),
}
PARALLEL = ("gpt_neox", "phi")
"""Architectures whose attention and MLP read the same residual stream, so that there is none between them."""

SCALED = ("granite",)
"""Architectures that scale the outputs of attention and MLP outside of them before adding them to the residual stream.
No module's output then is what is added."""

GUARDS = (
    *("analysis/feature_tests/test_flat_memory.py", "analysis/test_feature_stats.py", "analysis/test_pair_diffs.py"),
    *("analysis/test_shard_layouts.py", "api", "cli/test_in_bfloat16.py", "cli/test_verify.py", "engines"),
    *("export", "faults", "fuzz/test_folders.py", "fuzz/test_runs.py", "fuzz/test_viewer.py", "older_scripts"),
    *("pipeline/forward", "pipeline/input", "pipeline/resume", "pipeline/shards", "pipeline/test_extract.py"),
    *("pipeline/tokens/test_chat.py", "recipes/conversations", "recipes/test_concept.py", "recipes/test_date.py"),
    *("recipes/test_from_run.py", "recipes/test_peek.py", "recipes/test_reward_detect.py", "recipes/test_steer.py"),
    *("remote", "report/test_server.py", "runs", "test_gpu_benchmark.py", "test_matrix.py", "verify"),
)
"""Tests that, where they are slow, guard data and numbers: they get the marker `guard`, and run before the others."""
BEGAN = time.monotonic()
# Logs go to the current standard error, by Python's handler of last resort. Without a handler here, a
# library could set up its own, which writes to a test's stream after it is closed: servers log each request there.
if logging.lastResort is not None:
    logging.getLogger().addHandler(logging.lastResort)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
gc.disable()  # until all tests are found: the objects of hundreds of modules and seven thousand tests stay


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--minutes N`: slow tests that would begin later are skipped, and the report says so."""
    parser.addoption("--minutes", type=float, default=None, help="begin no slow test after so many minutes")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark guards, and as slow all but n cases of a test with `quick(n)`; put slow guards before other slow tests."""
    seen: Counter[str] = Counter()
    for item in items:
        quick = item.get_closest_marker("quick")
        test = item.nodeid.split("[")[0]
        seen[test] += 1
        if quick is not None and seen[test] > quick.args[0]:
            item.add_marker(pytest.mark.slow)
        if item.nodeid.removeprefix("tests/").startswith(GUARDS):
            item.add_marker(pytest.mark.guard)
    slow = {item for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item in slow and (2 - (item.get_closest_marker("guard") is not None)))


def pytest_collection_finish() -> None:
    """Turn the garbage collector on, and keep the objects made so far out of its searches."""
    gc.collect()
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # libraries count their objects that are left when the process ends, and report them


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a slow test for which there is no time left."""
    minutes = item.config.getoption("--minutes")
    if minutes is not None and item.get_closest_marker("slow") and time.monotonic() - BEGAN > 60 * minutes:
        pytest.skip(f"no time left within {minutes:g} minutes")


@pytest.fixture(scope="module", autouse=True)
def done_once() -> Iterator[None]:
    """Do the work of `once.py` once for the module's tests; modules share no template process."""
    with pytest.MonkeyPatch.context() as patch:
        for put in once.IN_PLACE:
            put(patch)
        yield


@pytest.fixture
def actkit(capfd: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in this process."""
    return partial(called, capfd)


@pytest.fixture
def signals_as_in_a_terminal() -> Iterator[None]:
    """Let signals that end a process do so, here and in processes that a test starts.

    Tests that run under `nohup`, or in the background of a shell, have SIGHUP or SIGINT ignored, and every child
    inherits that. They are unblocked too, so that none that a test sends is left to the next test.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, usual)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Architecture → directory of a random model of it, built once a session."""
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            built[name] = tmp_path_factory.mktemp(name)
            save_random_model(*ARCHITECTURES[name], built[name])
        return built[name]

    return build


def save_random_model(prefix: str, options: dict[str, Any], path: Path) -> None:
    """Save a random float32 model of a configuration class; norms are not 1 and biases not 0, as if trained."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = getattr(transformers, f"{prefix}Config")(**options)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)
    small_tokenizer().save_pretrained(path)


def small_tokenizer(**options: Any) -> Any:
    """Make a byte-level tokenizer without merges: special tokens, then one token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<bos>", "<end>", "<user>", "<assistant>", "<system>"]
    vocabulary = {token: index for index, token in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.add_special_tokens(specials)
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    if options.pop("adds_bos", True):
        bpe.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    names = {"bos_token": "<bos>", "eos_token": "<end>", "pad_token": "<pad>", **options}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, extra_special_tokens=specials[3:], **names)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest absolute difference over the largest expected magnitude."""
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


def built_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Return a folder of the session; the first process that needs the folder fills it."""
    from filelock import FileLock

    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir()
            build(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def six_runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Command → a finished run of it, built by the first process that needs it."""
    from tests.six_runs import COMMANDS, build

    folder = built_once(tmp_path_factory, "six", build)
    return {command: folder / command for command in COMMANDS}


Single: TypeAlias = Callable[[str], Path]


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Single:
    """Command → its run by one process, in several shards, built by the first process that needs it."""
    from tests.engines.runs import build

    def of(command: str) -> Path:
        found = of("concept") if command == "steer" else None
        return built_once(tmp_path_factory, f"single-{command}", partial(build, command, found)) / command

    return of
