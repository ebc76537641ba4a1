"""The student, its optimiser and checkpoints; the teacher, in memory or cached in files."""

import copy
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
MOMENTS = {"mean": "exp_avg", "square": "exp_avg_sq"}  # a checkpoint's file: AdamW's name
PT = {"format": "pt"}


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


def stored(name):
    """A parameter's name in a file; PEFT leaves out its name for a lone adapter."""
    return name.replace(".default.", ".")


def adamw(model, s):
    """Weight decay for tables and matrices; none for biases and norms."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [[p for p in trained if (p.ndim > 1) == matrix] for matrix in (True, False)]
    return torch.optim.AdamW(
        [
            {"params": groups[0], "weight_decay": s.weight_decay},
            {"params": groups[1], "weight_decay": 0.0},
        ],
        lr=s.student_lr,
        betas=(s.adam_beta1, s.adam_beta2),
        eps=1e-8,
    )


def restore(model, optimizer, folder, applied):
    """Reads both moments of a checkpoint. Works for plain, parallel and sharded models."""
    options = StateDictOptions(full_state_dict=True)
    state = get_optimizer_state_dict(model, optimizer, options=options)
    moments = {name: load_file(folder / f"{file}.safetensors") for file, name in MOMENTS.items()}
    for parameter in state["state"]:
        entries = {name: values[stored(parameter)] for name, values in moments.items()}
        state["state"][parameter] = entries
        state["state"][parameter]["step"] = torch.tensor(float(applied))
    set_optimizer_state_dict(model, optimizer, state, options=options)


def save(model, optimizer, out, plain, state, is_main):
    """Writes a checkpoint, and the student beside it as a folder that Stillhouse opens.

    `plain` is the model as it was before it was made parallel.
    """
    names = [name for name, p in plain.named_parameters() if p.requires_grad]
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    weights = get_model_state_dict(model, options=options)
    moments = get_optimizer_state_dict(model, optimizer, options=options).get("state")
    if not is_main:  # it alone has them whole
        return
    folder = out / f"checkpoint-{state['step']}"
    folder.mkdir(exist_ok=True)
    adapters = hasattr(plain, "peft_config")
    tensors = {stored(name): weights[name].contiguous() for name in names}
    save_file(tensors, folder / f"{'adapter_' * adapters}model.safetensors", PT)
    for file, moment in MOMENTS.items():
        tensors = {stored(name): moments[name][moment].contiguous() for name in names}
        save_file(tensors, folder / f"{file}.safetensors", PT)
    (folder / "state.json").write_text(json.dumps(state))
    for file in (HERE / "student").iterdir():
        if file.name != "model.safetensors":
            shutil.copy(file, out)
    plain.config.save_pretrained(out)
    if not adapters:
        plain.config.save_pretrained(folder)
        shutil.copy(folder / "model.safetensors", out)
        return
    plain.peft_config["default"].save_pretrained(folder)
    merged = dict(copy.deepcopy(plain).merge_and_unload().named_parameters())
    tensors = {name: p.detach().cpu().contiguous() for name, p in merged.items()}
    save_file(tensors, out / "model.safetensors", PT)


class Teacher:
    def __init__(self, model, V):
        self.model, self.V = model.eval().requires_grad_(False), V

    @torch.no_grad()
    def __call__(self, key, inputs):
        """(b, T) tokens → (b, T, V) logits. `key` names the batch for the cache."""
        return self.model(input_ids=inputs).logits[..., : self.V].float()


class CachedTeacher:
    """The k most likely tokens of each position and the rest as one tail, written once to files.

    Values are logits minus the row's largest, in f16, as Stillhouse stores them.
    """

    def __init__(self, teacher, batches, k, folder, rank):
        self.V, self.k, self.files = teacher.V, min(k or teacher.V, teacher.V), {}
        for key, inputs, temperature in batches:
            logits = teacher(key, inputs)
            logits = logits - logits.amax(-1, keepdim=True)
            values, ids = logits.clamp_min(-65504.0).topk(self.k)
            rest = (logits / temperature).scatter(-1, ids, float("-inf"))
            tail = rest.logsumexp(-1, keepdim=True).clamp_min(-1e30)
            entry = {"values": values.half(), "ids": ids.int(), "tail": tail}
            self.files[key] = folder / f"teacher-{rank}-{key}.safetensors"
            save_file({name: tensor.cpu() for name, tensor in entry.items()}, self.files[key])

    def __call__(self, key, inputs):
        """(values, ids, tail), or logits if every token is kept."""
        entry = load_file(self.files[key], device=str(inputs.device))
        values, ids = entry["values"].float(), entry["ids"].long()
        if self.k == self.V:
            return torch.empty_like(values).scatter(-1, ids, values)
        return values, ids, entry["tail"]
