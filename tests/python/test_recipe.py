"""A recipe's run in PyTorch beside Stillhouse's own, on tiny models in float32: the first 20 losses
of both, on one process and on two that share each batch; a checkpoint continued; the result and
its metrics brought back."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).resolve().parents[2]
DISTILL = ["node", "node_modules/.cache/stillhouse/distill/distill.js"]
ONE, TWO = 1e-5, 1e-4  # how far losses may differ on one process, and on two
TINY = {
    "model_dtype": "float32",
    "train_steps": 20,
    "warmup_steps": 4,
    "batch_size": 4,
    "max_length": 16,
    "student_layers": 1,
    "student_width": 16,
    "eval_batches": 2,
    "sample_tokens": 0,
}
# Each also changes the optimiser or the loss in a way of its own.
RUNS = {
    "fkl": {"kd_loss": "fkl", "gradient_accumulation": 2, "label_smoothing": 0.1, "z_loss": 0.01},
    "rkl": {"loss": "rkl", "temperature": 1, "lr_schedule": "linear"},
    "jsd": {"kd_loss": "jsd", "kd_beta": 0.3, "max_grad_norm": 0.05, "alpha": 0.9},
    "sfkl": {"loss": "sfkl", "kd_beta": 0.2, "weight_decay": 0.5, "lr_schedule": "constant"},
    "srkl": {"loss": "srkl", "max_grad_norm": 0, "adam_beta1": 0.8, "adam_beta2": 0.99},
    "tvd": {"kd_loss": "tvd", "train_loss_path": "strided"},
    "ce": {"loss": "ce", "seed": 3},
    "llama": {"teacher_model": "LLAMA", "kd_loss": "rkl", "gradient_checkpointing": "on"},
    "lora": {"student_model": "teacher", "student_from_layers": "0,2", "lora_rank": 4},
    "cache": {"loss": "fkl", "teacher_cache": "on", "cache_top_k": 8},
    "cache-all": {"loss": "jsd", "teacher_cache": "on", "cache_top_k": 0},
}


def stillhouse(*arguments):
    done = subprocess.run([*DISTILL, *map(str, arguments)], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytorch(recipe, out, *arguments, processes=1):
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*start, "distill.py", "--output_dir", str(out), *map(str, arguments)],
        cwd=recipe,
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def flags(settings):
    return [part for name, value in settings.items() for part in (f"--{name}", value)]


def records(folder, kind):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["type"] == kind]


def furthest(ours, theirs, first=1):
    """The largest difference of any loss of the steps from `first`, and how many there are."""
    pairs = list(zip(*([step for step in records(run, "step") if step["step"] >= first] for run in (ours, theirs))))
    names = ("loss", "ce", "kd")
    differences = [abs((a[name] or 0) - (b[name] or 0)) for a, b in pairs for name in names]
    assert all(a["step"] == b["step"] and a["applied"] and b["applied"] for a, b in pairs)
    return max(differences), len(pairs)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="session")
def llama(folder):
    """A small Llama with random weights and the built-in tokenizer, written by transformers."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = LlamaConfig(vocab_size=1024, **sizes, **heads, initializer_range=0.3)
    LlamaForCausalLM(config).save_pretrained(folder / "llama")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ROOT / "public/models/moby-teacher" / file, folder / "llama")
    return folder / "llama"


@pytest.fixture(scope="session")
def pair(folder, llama):
    """Stillhouse's run of that name, and its recipe. Each is made once."""
    made = {}

    def make(name):
        if name not in made:
            given = TINY | {"student_heads": 2} | RUNS[name]
            given = {key: llama if value == "LLAMA" else value for key, value in given.items()}
            ours, recipe = folder / f"{name}-ours", folder / f"{name}-recipe"
            stillhouse("--output_dir", ours, *flags(given))
            stillhouse("--recipe", recipe, *flags(given))
            made[name] = ours, recipe
        return made[name]

    return make


@pytest.mark.parametrize("name", RUNS)
def test_the_first_20_losses_agree_on_one_process(name, pair, folder, record_property):
    ours, recipe = pair(name)
    theirs = pytorch(recipe, folder / f"{name}-theirs")
    difference, steps = furthest(ours, theirs)
    print(f"{name}: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 20 and difference < ONE
    for a, b in zip(records(ours, "evaluation"), records(theirs, "evaluation"), strict=True):
        assert a["tokens"] == b["tokens"]
        for figure in ("studentPerplexity", "teacherPerplexity", "kl", "agreement"):
            assert b.get(figure, a[figure]) == pytest.approx(a[figure], rel=1e-4, abs=1e-5), figure


@pytest.mark.parametrize("name", ["fkl", "llama", "cache"])
def test_they_agree_on_two_processes_with_half_the_batch_each(name, pair, folder):
    ours, recipe = pair(name)
    theirs = pytorch(recipe, folder / f"{name}-two", processes=2)
    difference, steps = furthest(ours, theirs)
    print(f"{name}, two processes: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 20 and difference < TWO
    assert records(theirs, "config")[0]["adapter"]["name"].startswith("cpu × 2")


@pytest.mark.parametrize("name, processes, tolerance", [("fkl", 1, ONE), ("fkl", 2, TWO), ("lora", 1, ONE)])
def test_it_resumes_from_a_checkpoint_of_stillhouse(name, processes, tolerance, pair, folder):
    ours, _ = pair(name)
    more, recipe = folder / f"{name}-more-{processes}", folder / f"{name}-more-recipe-{processes}"
    shutil.copytree(ours, more)
    stillhouse("--resume", more, "--recipe", recipe, "--train_steps", 30)
    stillhouse("--resume", more, "--train_steps", 30)
    theirs = folder / f"{name}-more-theirs-{processes}"
    pytorch(recipe, theirs, "--resume", "checkpoint", processes=processes)
    difference, steps = furthest(more, theirs, first=21)
    print(f"{name}, resumed on {processes}: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 10 and difference < tolerance


def test_a_run_that_was_cut_in_two_ends_the_same(pair, folder):
    _, recipe = pair("fkl")
    whole = pytorch(recipe, folder / "whole", "--save_steps", 10)
    cut = folder / "cut"
    shutil.copytree(whole / "checkpoint-10", cut / "checkpoint-10")
    shutil.copy(whole / "metrics.jsonl", cut)
    pytorch(recipe, cut, "--resume", cut / "checkpoint-10")
    assert furthest(whole, cut) == (0, 20)


def test_its_result_is_a_student_of_stillhouse(pair, folder):
    for name in ("fkl", "llama", "lora"):
        _, recipe = pair(name)
        theirs = folder / f"{name}-theirs"
        if not theirs.exists():
            pytorch(recipe, theirs)
        back = folder / f"{name}-back"
        given = TINY | {"train_steps": 1, "loss": "ce", "teacher_model": theirs, "student_model": theirs}
        stillhouse("--output_dir", back, *flags(given))
        measured, [last] = records(back, "evaluation")[0], records(theirs, "evaluation")[-1:]
        assert measured["studentPerplexity"] == pytest.approx(last["studentPerplexity"], rel=1e-4)
        assert measured["kl"] == pytest.approx(0, abs=1e-6)
