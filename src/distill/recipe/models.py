"""Other texts; the student, its optimiser and checkpoints; the teacher, in memory or cached."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.core_model_loading import revert_weight_conversion
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
MOMENTS = {"mean": "exp_avg", "square": "exp_avg_sq"}  # a checkpoint's file: AdamW's name
PT = {"format": "pt"}


def read_texts(name):
    """Token ids of a .txt, .jsonl, .csv or .parquet file, or of a data set; the field is `text`."""
    from datasets import load_dataset

    kind = {".txt": "text", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
    file = kind.get(Path(name).suffix)
    rows = load_dataset(file, data_files=name) if file else load_dataset(name)
    if "text" not in rows["train"].column_names:
        raise SystemExit(f"--dataset {name}: no field `text`, but {rows['train'].column_names}.")
    tokenizer = AutoTokenizer.from_pretrained(HERE / "student")
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else encode("\n\n")
    ids = rows["train"].map(lambda row: {"ids": encode(row["text"]) + end})["ids"]
    documents = np.cumsum([0, *map(len, ids)])[:-1]
    return {"tokens": np.concatenate([np.asarray(each) for each in ids]), "documents": documents}


def open_model(place):
    """A folder or a model of the hub, in float32. Without dropout, as in Stillhouse."""
    name = HERE / place["folder"] if "folder" in place else place["id"]
    revision = place.get("revision")
    config = AutoConfig.from_pretrained(name, revision=revision)
    for key in [key for key in config.to_dict() if key.endswith(("pdrop", "dropout"))]:
        setattr(config, key, 0.0)
    return AutoModelForCausalLM.from_pretrained(
        name, revision=revision, config=config, dtype=torch.float32
    )


def open_student(place, checkpoint, with_adapters):
    """With adapters (LoRA) they alone train, as PEFT has them; the model itself is frozen."""
    if not with_adapters:
        return open_model({"folder": checkpoint} if checkpoint else place)
    from peft import PeftModel

    start = checkpoint or HERE / "adapter"
    model = PeftModel.from_pretrained(open_model(place), start, is_trainable=True)
    model.enable_input_require_grads()  # for recomputed activations
    return model


class Routers:
    """The routers of a model's layers with experts, and what they made of the rows passed last."""

    def __init__(self, model):
        kind = lambda module: type(module).__name__.lower()
        found = [(name, m) for name, m in model.named_modules() if kind(m).endswith("topkrouter")]
        self.modules, self.made = dict(found), {}
        for name, module in found:
            module.register_forward_hook(lambda m, given, out, name=name: self.keep(name, out))
        self.weights = {f"{name}.weight" for name in self.modules}

    def keep(self, name, out):
        self.made[name] = out[0].float(), out[2]

    def rows(self):
        """Of each layer: logits (M, E) and choices (M, k)."""
        return [self.made[name] for name in self.modules]

    def biases(self):
        """(E) of each layer, where a bias takes part in the choice."""
        name = "e_score_correction_bias"
        return [getattr(m, name) for m in self.modules.values() if hasattr(m, name)]


def freeze(model, routers, settings):
    """What the settings say does not train: the routers, or all but them."""
    only = settings["train_only_router"] == "on"
    if settings["train_router"] == "on" and not only:
        return
    for name, p in model.named_parameters():
        p.requires_grad_((name in routers.weights) == only)
    model.enable_input_require_grads()  # for recomputed activations


def shard(model, mixed_precision):
    """Divides a model among all processes (FSDP). A block is whole only while it computes."""
    low = torch.bfloat16 if mixed_precision == "bf16" else None
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32)
    blocks = [m for m in model.modules() if type(m).__name__ in model._no_split_modules]
    for module in [*blocks, model]:
        fully_shard(module, mp_policy=policy, reshard_after_forward=True)
    return model


def whole(tensor):
    """All of a divided tensor, for which every process must ask; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def adamw(model, s):
    """Weight decay for tables and matrices; none for biases and norms."""
    parameters = trained(model).values()
    groups = [[p for p in parameters if (p.ndim > 1) == matrix] for matrix in (True, False)]
    return torch.optim.AdamW(
        [
            {"params": groups[0], "weight_decay": s.weight_decay},
            {"params": groups[1], "weight_decay": 0.0},
        ],
        lr=s.student_lr,
        betas=(s.adam_beta1, s.adam_beta2),
        eps=1e-8,
    )


def trained(model):
    """Parameters by their names in files: PEFT leaves out its name for a lone adapter."""
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return {name.replace(".default.", "."): p for name, p in parameters}


def restore(model, optimizer, folder, applied):
    """Reads both moments of a checkpoint. `model` is the student before it was made parallel."""
    files = {name: load_file(folder / f"{file}.safetensors") for file, name in MOMENTS.items()}
    moments = {name: by_parameter(model, values) for name, values in files.items()}
    for name, p in trained(model).items():
        state = {"step": torch.tensor(float(applied))}
        for moment, values in moments.items():
            state[moment] = values[name].to(p.device)
            if isinstance(p, DTensor):  # each process keeps its part of what it read
                state[moment] = distribute_tensor(
                    state[moment], p.device_mesh, p.placements, src_data_rank=None
                )
        optimizer.state[p] = state


def has_experts(model):
    return not hasattr(model, "peft_config") and len(Routers(model).modules) > 0


def by_parameter(model, tensors):
    """A file's tensors by the model's names: a layer's experts lie in one, and not so in files."""
    if not has_experts(model):
        return tensors
    kind, said = getattr(transformers, model.config.architectures[0]), logging.get_verbosity()
    logging.set_verbosity_error()  # what is frozen is missing, rightly
    held = kind.from_pretrained(None, config=model.config, state_dict=tensors, dtype=torch.float32)
    logging.set_verbosity(said)
    return dict(held.named_parameters())


def as_in_files(model, tensors):
    """The inverse of `by_parameter`."""
    if not has_experts(model):
        return tensors
    return {name: t.clone() for name, t in revert_weight_conversion(model, tensors).items()}


def save(model, optimizer, out, place, state, is_main):
    """Writes a checkpoint, and the student beside it as a folder that Stillhouse opens.

    `model` is the student before it was made parallel. All processes must call this.
    """
    adapters = hasattr(model, "peft_config")
    folder = out / f"checkpoint-{state['step']}"
    # Frozen weights belong to the model, and so do buffers such as a router's bias.
    kept = model.state_dict().keys()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    everything = trained(model) if adapters else {**dict(model.named_parameters()), **buffers}
    values = {f"{'adapter_' * adapters}model": (everything, lambda p: p.detach())}
    for file, moment in MOMENTS.items():
        values[file] = trained(model), lambda p, moment=moment: optimizer.state[p][moment]
    for file, (held, value) in values.items():
        tensors = {}
        for name, p in held.items():
            tensor = whole(value(p))
            if is_main:
                tensors[name] = tensor.cpu().contiguous()
        if is_main:
            folder.mkdir(exist_ok=True)
            save_file(as_in_files(model, tensors), folder / f"{file}.safetensors", PT)
    if not is_main:
        return
    (folder / "state.json").write_text(json.dumps(state))
    for file in (HERE / "student").iterdir():
        if file.name != "model.safetensors":
            shutil.copy(file, out)
    model.config.save_pretrained(out)
    if not adapters:
        model.config.save_pretrained(folder)
        shutil.copy(folder / "model.safetensors", out)
        return
    model.peft_config["default"].save_pretrained(folder)
    merged = open_student(place, folder.resolve(), True).merge_and_unload()
    tensors = {name: p.detach().contiguous() for name, p in merged.named_parameters()}
    save_file(tensors, out / "model.safetensors", PT)


class Teacher:
    def __init__(self, model, V):
        self.model, self.V = model.eval().requires_grad_(False), V

    @torch.no_grad()
    def __call__(self, key, fed):
        """(b, T) tokens → (b, T, V) logits. `key` names the batch for the cache."""
        return self.model(**fed, use_cache=False).logits[..., : self.V].float()


class CachedTeacher:
    """The k most likely tokens of each position and the rest as one tail, written once to files.

    Values are logits minus the row's largest, in f16, as Stillhouse stores them.
    """

    def __init__(self, teacher, batches, k, folder, rank):
        self.V, self.k, self.files = teacher.V, min(k or teacher.V, teacher.V), {}
        for key, fed, temperature in batches:
            logits = teacher(key, fed)
            logits = logits - logits.amax(-1, keepdim=True)
            values, ids = logits.clamp_min(-65504.0).topk(self.k)
            rest = (logits / temperature).scatter(-1, ids, float("-inf"))
            tail = rest.logsumexp(-1, keepdim=True).clamp_min(-1e30)
            entry = {"values": values.half(), "ids": ids.int(), "tail": tail}
            self.files[key] = folder / f"teacher-{rank}-{key}.safetensors"
            save_file({name: tensor.cpu() for name, tensor in entry.items()}, self.files[key])

    def __call__(self, key, fed):
        """(values, ids, tail), or logits if every token is kept."""
        entry = load_file(self.files[key], device=str(fed["input_ids"].device))
        values, ids = entry["values"].float(), entry["ids"].long()
        if self.k == self.V:
            return torch.empty_like(values).scatter(-1, ids, values)
        return values, ids, entry["tail"]
