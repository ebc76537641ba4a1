"""A recipe's run in PyTorch beside Stillhouse's own, on tiny models in float32: the first 20 losses
of both, on one process, on two that share each batch, on two that hold half of each model, and on
two machines; checkpoints continued; other texts; the result and its metrics brought back."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

ROOT = Path(__file__).resolve().parents[2]
# As ChatML, in plain characters: the tokenizer has no tokens of its own for turns.
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
DISTILL = ["node", "node_modules/.cache/stillhouse/distill/distill.js"]
PATIENCE = 600  # seconds for a run that takes ten; processes that lose each other wait forever
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
TEXTS = {"data": "TEXTS", "format": "text", "column": "text"}
CHATS = {"data": "CHATS", "format": "chat"}
# Each also changes the optimiser, the loss or the data in a way of its own.
RUNS = {
    "fkl": {"kd_loss": "fkl", "gradient_accumulation": 2, "label_smoothing": 0.1, "z_loss": 0.01},
    "tvd": {"kd_loss": "tvd", "train_loss_path": "strided"},
    "ce": {"loss": "ce", "seed": 3},
    "llama": {"teacher_model": "LLAMA", "kd_loss": "rkl", "gradient_checkpointing": "on"},
    "lora": {"student_model": "teacher", "student_from_layers": "0,2", "lora_rank": 4},
    "cache-all": {"loss": "jsd", "teacher_cache": "on", "cache_top_k": 0},
    # Rows of one document, with what is left of a row empty.
    "alone": {"packing": "off", "loss": "sfkl", "kd_beta": 0.2, "weight_decay": 0.5}
    | {"lr_schedule": "constant", "gradient_accumulation": 2, **TEXTS},
    # Rows of several documents, with attention inside each.
    "masked": {"packing": "masked", "loss": "rkl", "temperature": 1, "lr_schedule": "linear"} | TEXTS,
    # Tokens that are no targets, in rows of each kind.
    "chat": {"teacher_model": "LLAMA", "kd_loss": "jsd", "kd_beta": 0.3, "alpha": 0.9}
    | {"max_grad_norm": 0.05, **CHATS},
    "chat-masked": {"teacher_model": "LLAMA", "packing": "masked", "loss": "srkl"}
    | {"max_grad_norm": 0, "adam_beta1": 0.8, "adam_beta2": 0.99, **CHATS},
    "chat-alone": {"teacher_model": "LLAMA", "packing": "off", "loss": "fkl"}
    | {"teacher_cache": "on", "cache_top_k": 8, **CHATS},
    # Every loss of routers; a bias in the choice, moved by the loads of two batches; routers alone.
    "experts": {"teacher_model": "MOE", "student_model": "teacher", "student_from_layers": "1"}
    | {"router_balance": 0.05, "router_z": 0.01, "router_kd": 0.5, "gradient_accumulation": 2},
    "biased": {"student_experts": 4, "router_bias_rate": 0.01, "router_balance": 0.01}
    | {"gradient_accumulation": 2, "gradient_checkpointing": "on"},
    "routers": {"teacher_model": "MOE", "student_model": "teacher", "student_from_layers": "1"}
    | {"train_only_router": "on", "loss": "ce", "student_lr": 0.01},
}


def stillhouse(*arguments):
    done = subprocess.run([*DISTILL, *map(str, arguments)], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytorch(recipe, out, *arguments, launch=(), program="distill.py"):
    """Runs it, by `launch` if given. One that names machines runs once for each of two."""
    machines = (0, 1) if "{machine}" in launch else (0,)
    running = []
    for machine in machines:
        # Each machine has a folder of its own for what it writes.
        folder = [out, out.with_name(f"{out.name}-second")][machine]
        start = [part.format(machine=machine) for part in launch or [sys.executable]]
        running.append(
            subprocess.Popen(
                [*start, program, "--output_dir", str(folder), *map(str, arguments)],
                cwd=recipe,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            )
        )
    said = [process.communicate(timeout=PATIENCE)[0] for process in running]
    assert all(process.returncode == 0 for process in running), "\n".join(said)
    return out


TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "accelerate.yaml"]
TWO_PROCESSES = [*TORCHRUN, "--standalone", "--nproc_per_node=2"]


def two_machines(launcher):
    """Two groups of processes, here on one machine, that meet at a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    if launcher == "torchrun":
        meet = ["--master_addr", "127.0.0.1", "--master_port", port]
        return [*TORCHRUN, "--nnodes", "2", "--node_rank", "{machine}", "--nproc_per_node", "1", *meet]
    meet = ["--main_process_ip", "127.0.0.1", "--main_process_port", port]
    return [*ACCELERATE, "--num_machines", "2", "--num_processes", "2", "--machine_rank", "{machine}", *meet]


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
    for name in ("step", "applied", "tokens"):
        assert all(a[name] == b[name] for a, b in pairs), name
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
    (folder / "llama/chat_template.jinja").write_text(TEMPLATE)
    return folder / "llama"


@pytest.fixture(scope="session")
def moe(folder, llama):
    """A small Qwen3 MoE, likewise. Its second layer has experts."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    experts = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    config = Qwen3MoeConfig(vocab_size=1024, **sizes, **heads, **experts, mlp_only_layers=[0],
                            norm_topk_prob=True, initializer_range=0.3)
    Qwen3MoeForCausalLM(config).save_pretrained(folder / "moe")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama / file, folder / "moe")
    return folder / "moe"


@pytest.fixture(scope="session")
def files(folder, llama, moe):
    """What a run's settings name: a model, texts and conversations."""
    draw = random.Random(1)
    words = [word.strip() for word in "the whale, a ship of iron and the sea that took it by night".split()]
    text = lambda: " ".join(draw.choices(words, k=draw.randrange(3, 30)))
    turns = lambda: [{"role": role, "content": text()} for role in ("user", "assistant")]
    rows = {"texts": [{"text": text()} for _ in range(60)]}
    rows["chats"] = [{"messages": turns() + turns()} for _ in range(40)]
    named = {"LLAMA": llama, "MOE": moe}
    for name, lines in rows.items():
        named[name.upper()] = folder / f"{name}.jsonl"
        named[name.upper()].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return named


@pytest.fixture(scope="session")
def pair(folder, files):
    """Stillhouse's run of that name, and its recipe. Each is made once."""
    made = {}

    def make(name):
        if name not in made:
            given = TINY | {"student_heads": 2} | RUNS[name]
            given = {key: files.get(value, value) for key, value in given.items()}
            ours, recipe = folder / f"{name}-ours", folder / f"{name}-recipe"
            stillhouse("--output_dir", ours, *flags(given))
            stillhouse("--recipe", recipe, *flags(given))
            made[name] = ours, recipe
        return made[name]

    return make


@pytest.fixture(scope="session")
def longer(pair, folder):
    """Stillhouse's run of that name, continued to step 30, and the recipe of its step 20."""
    made = {}

    def make(name):
        if name not in made:
            ours, recipe = folder / f"{name}-longer", folder / f"{name}-longer-recipe"
            shutil.copytree(pair(name)[0], ours)
            stillhouse("--resume", ours, "--recipe", recipe, "--train_steps", 30)
            stillhouse("--resume", ours, "--train_steps", 30)
            made[name] = ours, recipe
        return made[name]

    return make


@pytest.mark.parametrize("name", RUNS)
def test_the_first_20_losses_agree_on_one_process(name, pair, folder, record_property):
    ours, recipe = pair(name)
    theirs = alone_in(folder, name, recipe)
    difference, steps = furthest(ours, theirs)
    print(f"{name}: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 20 and difference < ONE
    for a, b in zip(records(ours, "evaluation"), records(theirs, "evaluation"), strict=True):
        assert a["tokens"] == b["tokens"]
        for figure in ("studentPerplexity", "teacherPerplexity", "kl", "agreement"):
            assert b.get(figure, a[figure]) == pytest.approx(a[figure], rel=1e-4, abs=1e-5), figure


@pytest.mark.parametrize("name", ["masked", "chat-alone", "experts", "biased"])
def test_they_agree_on_two_processes_with_half_the_batch_each(name, pair, folder):
    ours, recipe = pair(name)
    theirs = pytorch(recipe, folder / f"{name}-two", launch=TWO_PROCESSES)
    difference, steps = furthest(ours, theirs)
    print(f"{name}, two processes: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 20 and difference < TWO
    assert records(theirs, "config")[0]["adapter"]["name"].startswith("cpu × 2")


@pytest.mark.parametrize("name", ["llama", "lora"])
def test_they_agree_on_two_processes_that_hold_half_of_each_model(name, pair, folder):
    ours, recipe = pair(name)
    shard = lambda out, *flags: pytorch(recipe, out, "--shard", "on", *flags, launch=TWO_PROCESSES)
    theirs = shard(folder / f"{name}-sharded", "--save_steps", 10)
    difference, steps = furthest(ours, theirs)
    print(f"{name}, sharded: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 20 and difference < TWO
    # From its own checkpoint it goes on with the same bits.
    cut = folder / f"{name}-sharded-cut"
    cut.mkdir()
    shutil.copy(theirs / "metrics.jsonl", cut)
    shard(cut, "--resume", theirs / "checkpoint-10")
    assert furthest(theirs, cut) == (0, 20)
    # What it writes is whole: the student of one process.
    alone = load_file(alone_in(folder, name, recipe) / "model.safetensors")
    for tensor, values in load_file(theirs / "model.safetensors").items():
        torch.testing.assert_close(values, alone[tensor], rtol=1e-3, atol=1e-4)


def alone_in(folder, name, recipe):
    """What one process writes."""
    theirs = folder / f"{name}-theirs"
    return theirs if theirs.exists() else pytorch(recipe, theirs)


@pytest.mark.parametrize("launcher, more", [("accelerate", []), ("torchrun", ["--shard", "on"])])
def test_they_agree_on_two_machines(launcher, more, pair, folder):
    ours, recipe = pair("fkl")
    theirs = pytorch(recipe, folder / f"fkl-{launcher}", *more, launch=two_machines(launcher))
    difference, steps = furthest(ours, theirs)
    print(f"fkl, two machines by {launcher}: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 20 and difference < TWO
    assert not (folder / f"fkl-{launcher}-second" / "metrics.jsonl").exists()


RESUMED = [
    ("fkl", [], [], ONE),
    ("fkl", TWO_PROCESSES, ["--shard", "on"], TWO),
    *((name, [], [], ONE) for name in ("lora", "experts", "biased", "routers")),
]


@pytest.mark.parametrize("name, launch, more, tolerance", RESUMED)
def test_it_resumes_from_a_checkpoint_of_stillhouse(name, launch, more, tolerance, longer, folder):
    ours, recipe = longer(name)
    theirs = folder / f"{name}-longer-{len(launch)}"
    pytorch(recipe, theirs, "--resume", "checkpoint", *more, launch=launch)
    difference, steps = furthest(ours, theirs, first=21)
    print(f"{name}, resumed, {more}: the losses of {steps} steps differ by at most {difference:.1e}")
    assert steps == 10 and difference < tolerance


def test_a_run_that_was_cut_in_two_ends_the_same(pair, folder):
    _, recipe = pair("fkl")
    whole = pytorch(recipe, folder / "whole", "--save_steps", 10)
    cut = folder / "cut"
    shutil.copytree(whole / "checkpoint-10", cut / "checkpoint-10")
    shutil.copy(whole / "metrics.jsonl", cut)
    pytorch(recipe, cut, "--resume", cut / "checkpoint-10")
    assert furthest(whole, cut) == (0, 20)


def test_other_texts_are_read_as_stillhouse_reads_them(pair, files, folder):
    _, recipe = pair("alone")
    stored = load_file(recipe / "tokens.safetensors")
    documents = [
        tokens
        for part in ("train", "held_out")
        for tokens in stored[f"{part}.tokens"].tensor_split(stored[f"{part}.documents"].long())[1:]
    ]
    # As a file and as a folder of files; a data set on the hub is read as a folder is.
    texts = folder / "data set"
    texts.mkdir()
    shutil.copy(files["TEXTS"], texts / "train.jsonl")
    sys.path.insert(0, str(recipe))
    models = __import__("models")
    models.HERE = recipe
    for place in (files["TEXTS"], texts):
        read = models.read_texts(str(place))
        tokens = torch.from_numpy(read["tokens"]).tensor_split(torch.from_numpy(read["documents"]))[1:]
        assert sorted(each.tolist() for each in tokens) == sorted(each.tolist() for each in documents)
    theirs = pytorch(recipe, folder / "other", "--dataset", texts, "--train_steps", 2)
    assert len(records(theirs, "step")) == 2
    with pytest.raises(SystemExit, match="no field `text`, but"):
        models.read_texts(str(files["CHATS"]))


def test_trl_trains_the_same_run(pair, folder):
    """The script for TRL's GKDTrainer ends with the weights of distill.py."""
    recipe = shutil.copytree(pair("fkl")[1], folder / "gkd-recipe")
    settings = json.loads((recipe / "settings.json").read_text())
    settings |= {"alpha": 1, "train_loss_path": "strided"}
    (recipe / "settings.json").write_text(json.dumps(settings))
    shutil.copy(ROOT / "src/distill/recipe/gkd.py", recipe)
    theirs = pytorch(recipe, recipe / "out")
    pytorch(recipe, recipe / "unused", program="gkd.py")
    start, ours, trl = (load_file(at / "model.safetensors") for at in (recipe / "student", theirs, recipe / "gkd"))
    moved = max(float((ours[name] - start[name]).abs().max()) for name in ours)
    apart = max(float((ours[name] - trl[name]).abs().max()) for name in ours)
    print(f"TRL’s weights after 20 steps differ by at most {apart:.1e}; training moved them by {moved:.1e}")
    assert moved > 1e-2 and apart < 1e-5


def test_its_result_is_a_student_of_stillhouse(pair, folder):
    for name in ("fkl", "llama", "lora", "experts", "biased", "routers"):
        _, recipe = pair(name)
        theirs = alone_in(folder, name, recipe)
        back = folder / f"{name}-back"
        given = TINY | {"train_steps": 1, "loss": "ce", "teacher_model": theirs, "student_model": theirs}
        stillhouse("--output_dir", back, *flags(given))
        measured, [last] = records(back, "evaluation")[0], records(theirs, "evaluation")[-1:]
        assert measured["studentPerplexity"] == pytest.approx(last["studentPerplexity"], rel=1e-4)
        assert measured["kl"] == pytest.approx(0, abs=1e-6)
