"""A run of Stillhouse in PyTorch, with the same data order, losses and updates. See README.md.

    python distill.py --output_dir out
    accelerate launch --config_file accelerate.yaml distill.py --output_dir out --resume checkpoint

B sequences of T tokens, V tokens in the vocabulary. Every setting of settings.json is a flag.
"""

import argparse
import json
import math
import os
import platform
import random
import time
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import GradScalerKwargs
from safetensors.torch import load_file

from models import CachedTeacher, Routers, Teacher, adamw, freeze, open_model, open_student
from models import read_texts, restore, save, shard, whole
from stillhouse import IGNORED, Batches, cross_entropy, divergence, held_out, learning_rate
from stillhouse import move_biases, router_losses

HERE = Path(__file__).resolve().parent
# Settings of what the folder was made of, and of the page. They are no flags.
FIXED = (
    "teacher_model teacher_engine teacher_dtype student_model student_from_layers student_layers "
    "student_width student_heads student_experts experts_per_token lora_rank lora_alpha "
    "lora_targets base_weights twin twin_pace train_router train_only_router corpus "
    "eval_loss_path prompt sample_tokens model_dtype"
).split()


def main():
    s, recipe, settings = read_settings()
    scaling = GradScalerKwargs(init_scale=s.initial_loss_scale)
    on_cpu = not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[scaling])
    rank, world, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    B, T, A, V = s.batch_size, s.max_length, s.gradient_accumulation, recipe["vocabulary"]
    if B % world:
        raise SystemExit(f"{world} processes cannot share batch_size {B}. Use a multiple.")
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":  # it would leave the teacher empty
        raise SystemExit("Leave out --use_fsdp: --shard on divides student and teacher.")
    if s.shard == "on" and (world == 1 or accelerator.mixed_precision == "fp16"):
        raise SystemExit("--shard on needs several processes, and bf16 or no mixed precision.")
    out = Path(s.output_dir)
    out.mkdir(parents=True, exist_ok=True)

    # The data. `mine` is this process's share of a batch's rows.
    texts = {"train": {}, "held_out": {}}
    for name, values in load_file(HERE / "tokens.safetensors").items():
        part, what = name.split(".")
        if what != "learned" or s.assistant_only_loss == "on":
            texts[part][what] = values.numpy()
    text = read_texts(s.dataset) if s.dataset else texts["train"]
    batches = Batches(text, B, T, s.seed, s.packing)
    tests = list(held_out(texts["held_out"], B, T, s.eval_batches, s.packing))
    order = recipe["order"]
    if not s.dataset and [B, T, s.seed, s.packing] == order["of"]:
        assert [batches.starts(i) for i in range(len(order["starts"]))] == order["starts"]
    share = lambda rows: rows[rank::world].to(device)
    mine = lambda fed, targets: ({key: share(rows) for key, rows in fed.items()}, share(targets))

    # The models.
    checkpoint = Path(s.resume).resolve() if s.resume else None
    done = json.loads((checkpoint / "state.json").read_text()) if checkpoint else {"step": 0}
    applied = done.get("applied", 0)
    plain = open_student(recipe["student"], checkpoint, settings["lora_rank"] > 0).train()
    if s.gradient_checkpointing == "on":
        plain.gradient_checkpointing_enable()
    teacher = open_model(recipe["teacher"])
    needs_teacher = s.loss != "ce"
    routers, taught = Routers(plain), Routers(teacher)
    if routers.modules and settings["lora_rank"] == 0:
        freeze(plain, routers, settings)
    learns = routers.modules and s.router_kd > 0
    can_learn = needs_teacher and s.teacher_cache == "off"
    if learns and not (can_learn and len(taught.modules) == len(routers.modules)):
        raise SystemExit("router_kd needs a loss with a teacher of as many routers, not cached.")
    if s.router_bias_rate > 0 and len(routers.biases()) < len(routers.modules):
        raise SystemExit("router_bias_rate needs routers with a bias, as those of dots1.")
    router_weights = torch.tensor([s.router_balance, s.router_z, s.router_kd], device=device)
    if s.shard == "on":
        model, teacher = (shard(each, accelerator.mixed_precision) for each in (plain, teacher))
        optimizer = accelerator.prepare(adamw(plain, s))
    else:
        model, optimizer = accelerator.prepare(plain, adamw(plain, s))
    teacher = Teacher(teacher.to(device), V)
    biases = routers.biases() if s.router_bias_rate > 0 else []
    if checkpoint:
        restore(plain, optimizer.optimizer, checkpoint, applied)
    weight = {"ce": 0.0, "mixed": s.alpha}.get(s.loss, 1.0)
    kind = s.kd_loss if s.loss == "mixed" else s.loss
    if s.teacher_cache == "on":
        last = s.train_steps * A if needs_teacher else 0
        steps = range(done["step"] * A, last)
        rows = [(f"train-{i}", mine(*batches.at(i))[0], s.temperature) for i in steps]
        rows += [(f"test-{i}", mine(*batch)[0], 1.0) for i, batch in enumerate(tests)]
        teacher = CachedTeacher(teacher, rows, s.cache_top_k, out, rank)

    def metrics(kind, record):
        if not accelerator.is_main_process:
            return
        record = {key: None if value != value else value for key, value in record.items()}
        with open(out / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"type": kind, **record}) + "\n")

    @torch.no_grad()
    def evaluate(step):
        """Held-out perplexity, and KL(teacher ‖ student) at temperature 1."""
        started, sums = time.time(), torch.zeros(5, device=device)
        model.eval()
        for i, batch in enumerate(tests):
            fed, targets = mine(*batch)
            with accelerator.autocast():
                z = model(**fed, use_cache=False).logits[..., :V].float()
                y = teacher(f"test-{i}", fed)
            whole = torch.is_tensor(y)  # a cache has only the likeliest tokens, the first first
            best = y.argmax(-1) if whole else y[1][..., 0]
            unknown = torch.full_like(z[..., 0], math.nan)
            figures = [cross_entropy(z, targets), cross_entropy(y, targets) if whole else unknown]
            figures += [divergence("fkl", 0.5, 1.0, z, y)]
            figures += [(z.argmax(-1) == best).float(), torch.ones_like(z[..., 0])]
            sums += torch.stack([figure[targets != IGNORED].sum() for figure in figures])
        model.train()
        ce, teacher_ce, kl, same, count = accelerator.reduce(sums).tolist()
        record = {"step": step, "tried": len(tests), "succeeded": len(tests), "failed": 0}
        record |= {"tokens": int(count), "studentPerplexity": math.exp(ce / count)}
        if teacher_ce == teacher_ce:
            record["teacherPerplexity"] = math.exp(teacher_ce / count)
        else:
            record["klWords"] = s.cache_top_k
        record |= {"kl": kl / count, "agreement": same / count, "path": "strided", "bytesCopied": 0}
        metrics("evaluation", record | {"milliseconds": 1000 * (time.time() - started)})
        accelerator.print(f"step {step}: PPL={math.exp(ce / count):.2f} KL={kl / count:.4f}")

    if accelerator.is_main_process:
        head = {"config": settings, "student": recipe["sizes"], "data": recipe["data"]}
        head["adapter"] = {"name": f"{name_of(device)} × {world}, PyTorch {torch.__version__}"}
        head["dtype"] = "f16" if accelerator.mixed_precision == "fp16" else "f32"
        begin(out / "metrics.jsonl", done["step"], head, metrics)
    if done["step"] == 0:
        evaluate(0)
    began = time.time()
    for step in range(done["step"] + 1, s.train_steps + 1):
        rate = learning_rate(step, s)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = {index: batches.at(index) for index in range((step - 1) * A, step * A)}
        if s.train_loss_path != "labels":  # logits[:, :-1] against labels[:, 1:]
            for _, targets in rows.values():
                targets[:, -1] = IGNORED
        # One denominator for CE, KD, accumulation and all processes: the targets that count.
        count = sum(int((targets != IGNORED).sum()) for _, targets in rows.values())
        sums = torch.zeros(5, device=device)
        loads = [torch.zeros(len(bias), dtype=torch.long, device=device) for bias in biases]
        for index, batch in rows.items():
            fed, targets = mine(*batch)
            with nullcontext() if index == step * A - 1 else accelerator.no_sync(model):
                with accelerator.autocast():
                    z = model(**fed, use_cache=False).logits[..., :V].float()
                    y = teacher(f"train-{index}", fed) if needs_teacher else None
                ce = cross_entropy(z, targets, s.label_smoothing, s.z_loss).sum()
                kd = torch.zeros_like(ce)
                if needs_teacher:
                    kd = divergence(kind, s.kd_beta, s.temperature, z, y)[targets != IGNORED].sum()
                loss = (weight * s.temperature**2 * kd + (1 - weight) * ce) / max(1, count)
                parts = torch.zeros(3, device=device)
                if routers.modules:  # their losses are means over the step's batches
                    made = routers.rows()
                    others = [logits for logits, _ in taught.rows()] if learns else []
                    parts = router_losses(made, others, accelerator.reduce) / A
                    loss = loss + (router_weights * parts).sum()
                    for load, (_, chosen) in zip(loads, made):
                        load += torch.bincount(chosen.flatten(), minlength=len(load))
                # Processes average their gradients: times their number, they add up.
                accelerator.backward(loss * world)
            sums += torch.cat([torch.stack([ce, kd]), parts]).detach()
        scale = accelerator.scaler.get_scale() if accelerator.scaler else 1
        norm = accelerator.clip_grad_norm_(model.parameters(), s.max_grad_norm or math.inf)
        norm = float(whole(norm))
        # A step without a target, or whose gradient is not finite, changes nothing; in float16 the
        # scaler sees to the latter.
        finite = math.isfinite(norm) and count > 0
        if finite or (accelerator.scaler and count > 0):
            optimizer.step()
        optimizer.zero_grad()
        if finite:
            move_biases(biases, [accelerator.reduce(load) for load in loads], s.router_bias_rate)
        applied += finite
        sums = accelerator.reduce(sums)
        ce, kd = (sums[:2] / count).tolist()  # NaN without a target
        loss = weight * s.temperature**2 * kd + (1 - weight) * ce
        loss += float((router_weights * sums[2:]).sum())
        record = {"step": step, "loss": loss, "ce": ce, "kd": kd if needs_teacher else math.nan}
        record |= {"gradNorm": norm if math.isfinite(norm) else math.nan, "learningRate": rate}
        record |= {"lossScale": scale, "applied": finite, "tokens": count}
        record |= {"appliedTotal": applied, "skippedTotal": step - applied}
        if routers.modules:
            names = ["routerBalance", "routerZ", *(["routerKd"] if learns else [])]
            record |= dict(zip(names, sums[2:].tolist()))
        metrics("step", record | {"seconds": time.time() - began})
        if step % s.eval_steps == 0 or step == s.train_steps:
            metrics("timing", {"step": step, "seconds": time.time() - began})
            evaluate(step)
        if step % (s.save_steps or s.train_steps) == 0 or step == s.train_steps:
            state = {"step": step, "applied": applied}
            save(plain, optimizer.optimizer, out, recipe["student"], state, rank == 0)
    accelerator.wait_for_everyone()  # the first one may still be writing
    accelerator.end_training()


def read_settings():
    """The settings, most of which are flags as well, and what is known of models and data."""
    settings = json.loads((HERE / "settings.json").read_text())
    recipe = json.loads((HERE / "recipe.json").read_text())
    number = lambda text: int(text) if text.lstrip("-").isdigit() else float(text)
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in settings.items():
        kind, choices = str if isinstance(value, str) else number, recipe["choices"].get(name)
        if name not in FIXED:
            flags.add_argument(f"--{name}", type=kind, default=value, choices=choices)
    flags.add_argument("--output_dir", default="out")
    flags.add_argument("--resume", help="a checkpoint's folder, Stillhouse's or the script's")
    flags.add_argument("--shard", choices=["off", "on"], default="off", help="FSDP")
    flags.add_argument("--save_steps", type=int, default=0, help="steps between checkpoints")
    flags.add_argument("--dataset", help="other texts to train on: a file, or a name on the hub")
    s = flags.parse_args()
    return s, recipe, {name: getattr(s, name, value) for name, value in settings.items()}


def begin(path, step, head, metrics):
    """Starts metrics.jsonl, which Stillhouse reads, or goes on in it after `step`."""
    lines = path.read_text().splitlines() if step > 0 and path.exists() else []
    kept = [line for line in lines if json.loads(line).get("step", 0) <= step]
    path.write_text("".join(f"{line}\n" for line in kept))
    now = datetime.now(timezone.utc)
    if kept:
        return metrics("resumed", {"step": step, "version": 2, "time": now.isoformat()})
    chance = "".join(random.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=6))
    names = {"version": 2, "time": now.isoformat(), "id": f"{now:%Y%m%d-%H%M%S}-{chance}"}
    metrics("config", names | {"link": "", "engine": "PyTorch"} | head)


def name_of(device):
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or device.type


if __name__ == "__main__":
    main()
