"""Models that transformers wrote, distilled, resumed and exported by Stillhouse: transformers and
onnxruntime load what is exported, with the perplexity of the log; PEFT loads the adapters of LoRA.
Tiny models with random weights in float32, one of each architecture."""

import json
import math
import shutil
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file
from test_recipe import ROOT, flags, records, stillhouse
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(ROOT / "src/distill/recipe"))
from stillhouse import IGNORED, held_out  # noqa: E402

BUILT_IN = ROOT / "public/models/moby-teacher"
ENDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
# Each has what the others lack: windows, own heads, rotations scaled or left out, experts.
ARCHITECTURES = {
    "gpt2": GPT2,
    "llama": {
        **LLAMA,
        "tie_word_embeddings": True,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    },
    "mistral": {**LLAMA, "sliding_window": 6, "head_dim": 8},
    "qwen2": {**LLAMA, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {**LLAMA, "head_dim": 16, "tie_word_embeddings": False},
    "smollm3": {**LLAMA, "no_rope_layers": [1, 0], "tie_word_embeddings": True},
    "mixtral": {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": {**LLAMA, "num_experts": 6, "num_experts_per_tok": 2},
    "dots1": {**LLAMA, "n_routed_experts": 6, "num_experts_per_tok": 2, "n_shared_experts": 1,
              "moe_intermediate_size": 24, "first_k_dense_replace": 1, "routed_scaling_factor": 1.5,
              "norm_topk_prob": True},
    "qwen3_moe": {
        **LLAMA,
        "num_experts": 5,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "mlp_only_layers": [0],
    },
}
RUN = {
    "model_dtype": "float32",
    "train_steps": 4,
    "warmup_steps": 1,
    "eval_steps": 4,
    "batch_size": 4,
    "max_length": 16,
    "eval_batches": 4,
    "sample_tokens": 0,
}
B, T = RUN["batch_size"], RUN["max_length"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="session")
def windows(folder):
    """The batches that every run here evaluates on, as its recipe has them."""
    recipe = folder / "recipe"
    stillhouse("--recipe", recipe, *flags(RUN))
    text = {"tokens": load_file(recipe / "tokens.safetensors")["held_out.tokens"]}
    batches = held_out(text, B, T, RUN["eval_batches"], "on")
    return [(fed["input_ids"], targets) for fed, targets in batches]


@pytest.fixture(scope="session")
def written(folder):
    """The folder of an architecture's model, written by transformers. Each is made once."""

    def make(name):
        path = folder / name
        if not path.exists():
            torch.manual_seed(1)
            config = AutoConfig.for_model(name, vocab_size=1024, initializer_range=0.2, **ENDS, **ARCHITECTURES[name])
            AutoModelForCausalLM.from_config(config).save_pretrained(path)
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(BUILT_IN / file, path)
        return path

    return make


def logits_of(model, inputs):
    with torch.no_grad():
        return model(input_ids=inputs, use_cache=False).logits.float()


def perplexity(logits, windows):
    """Of logits (B, T, V) for each batch of `windows`."""
    targets = torch.cat([targets.flatten() for _, targets in windows])
    rows = torch.cat([each.flatten(0, 1) for each in logits])
    return math.exp(torch.nn.functional.cross_entropy(rows.double(), targets, ignore_index=IGNORED))


def last_perplexity(run):
    return records(run, "evaluation")[-1]["studentPerplexity"]


def onnx_logits(path, inputs):
    """One pass without earlier tokens."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows, length = inputs.shape
    feeds = {"input_ids": inputs.numpy()}
    for given in session.get_inputs():
        if given.name == "attention_mask":
            feeds[given.name] = np.ones((rows, length), np.int64)
        elif given.name == "position_ids":
            feeds[given.name] = np.tile(np.arange(length), (rows, 1))
        elif given.name.startswith("past_key_values"):
            _, heads, _, size = given.shape
            feeds[given.name] = np.zeros((rows, heads, 0, size), np.float32)
    return torch.from_numpy(session.run(["logits"], feeds)[0])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_trains_resumes_and_exports(name, written, windows, folder):
    source, run = written(name), folder / f"{name}-run"
    models = {"teacher_model": source, "student_model": "teacher", "student_from_layers": "1"}
    stillhouse("--output_dir", run, *flags(RUN | models))
    stillhouse("--resume", run, "--train_steps", 8)
    assert [step["step"] for step in records(run, "step")] == list(range(1, 9))

    model = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float32).eval()
    assert model.config.model_type == name
    logits = [logits_of(model, inputs) for inputs, _ in windows]
    ours = last_perplexity(run)
    theirs = perplexity(logits, windows)
    graph = onnx_logits(run / "onnx/model.onnx", windows[0][0])
    furthest = float((graph - logits[0]).abs().max())
    print(f"{name}: perplexity {ours:.6f}, by transformers {theirs:.6f}; ONNX logits within {furthest:.1e}")
    assert theirs == pytest.approx(ours, rel=1e-3)
    assert furthest < 1e-3
    assert AutoTokenizer.from_pretrained(run)("The whale").input_ids


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_peft_loads_the_adapters(name, written, windows, folder):
    source, run = written(name), folder / f"{name}-lora"
    lora = {"student_model": source, "lora_rank": 4, "student_lr": 0.02, "loss": "ce"}
    stillhouse("--output_dir", run, *flags(RUN | lora | {"teacher_model": source}))

    base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    plain = [logits_of(base, inputs) for inputs, _ in windows]
    adapted = PeftModel.from_pretrained(base, run / "adapter").eval()
    logits = [logits_of(adapted, inputs) for inputs, _ in windows]
    ours, before = last_perplexity(run), records(run, "evaluation")[0]["studentPerplexity"]
    theirs = perplexity(logits, windows)
    merged = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float32).eval()
    furthest = float((logits_of(merged, windows[0][0]) - logits[0]).abs().max())
    print(f"{name}: perplexity {before:.4f} before, {ours:.6f} after, by PEFT {theirs:.6f}; merged within {furthest:.1e}")
    assert perplexity(plain, windows) == pytest.approx(before, rel=1e-3)
    assert theirs == pytest.approx(ours, rel=1e-3)
    # The adapters have moved the model further than the tolerance.
    assert abs(ours / before - 1) > 5e-3
    assert furthest < 1e-3
    described = json.loads((run / "adapter/adapter_config.json").read_text())
    assert described["fan_in_fan_out"] == (name == "gpt2")
