"""The same step as story-pair.ts in PyTorch, float32 on the CPU, from the same formula for weights and tokens.

Usage: /usr/bin/python3 tests/bench/story_pair.py FILE      (Debian: python3-torch, python3-numpy)

FILE is what story-pair.ts wrote with --out. Prints both sides of each figure, and ends with 1 if one is further away than its
limit: in f32 1e-5, in f16 2e-3 (activations are rounded to 11 bits in every layer); both are ten times what was measured.
"""
import json
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

U = np.uint32


def mixed(h):
    h = h ^ (h >> U(16))
    h = h * U(0x85EBCA6B)
    h = h ^ (h >> U(13))
    h = h * U(0xC2B2AE35)
    return h ^ (h >> U(16))


def seed_of(name):
    h = 0x811C9DC5
    for c in name.encode():
        h = ((h ^ c) * 0x01000193) & 0xFFFFFFFF
    return U(h)


def parameter(model, cfg, name, shape):
    i = np.arange(math.prod(shape), dtype=U)
    k = (mixed(seed_of(f"{model}.{name}") + i * U(0x9E3779B1)) >> U(22)).astype(np.float32)
    if name.split(".")[-2].startswith("ln_") and name.endswith("weight"):
        values = 1 + (k - 512) / 1024
    else:
        exponent = -4 - (round(math.log2(math.sqrt(2 * cfg["n_layer"]))) if name.endswith("c_proj.weight") else 0)
        values = (2 * k - 1023) * np.float32(2.0**exponent / 2048)
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def model_of(model, cfg):
    V, P, C, L = cfg["vocab_size"], cfg["n_positions"], cfg["n_embd"], cfg["n_layer"]
    shapes = {"wte.weight": (V, C), "wpe.weight": (P, C), "ln_f.weight": (C,), "ln_f.bias": (C,)}
    for i in range(L):
        b = f"h.{i}."
        for ln in ("ln_1", "ln_2"):
            shapes |= {b + ln + ".weight": (C,), b + ln + ".bias": (C,)}
        for name, a, o in (("attn.c_attn", C, 3 * C), ("attn.c_proj", C, C), ("mlp.c_fc", C, 4 * C), ("mlp.c_proj", 4 * C, C)):
            shapes |= {b + name + ".weight": (a, o), b + name + ".bias": (o,)}
    return {name: parameter(model, cfg, name, shape) for name, shape in shapes.items()}


def forward(p, cfg, x):
    """(B, T) ids -> (B, T, V) logits: pre-LayerNorm, learnt positions, tanh GELU, head tied to wte."""
    B, T = x.shape
    C, H = cfg["n_embd"], cfg["n_head"]
    ln = lambda h, k: F.layer_norm(h, (C,), p[k + ".weight"], p[k + ".bias"], cfg["layer_norm_epsilon"])
    lin = lambda h, k: h @ p[k + ".weight"] + p[k + ".bias"]
    heads = lambda h: h.view(B, T, H, C // H).transpose(1, 2)
    mask = torch.full((T, T), -math.inf).triu(1)
    h = p["wte.weight"][x] + p["wpe.weight"][:T]
    for i in range(cfg["n_layer"]):
        b = f"h.{i}."
        q, k, v = map(heads, lin(ln(h, b + "ln_1"), b + "attn.c_attn").split(C, -1))
        a = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(C // H) + mask, -1) @ v
        h = h + lin(a.transpose(1, 2).reshape(B, T, C), b + "attn.c_proj")
        f = lin(ln(h, b + "ln_2"), b + "mlp.c_fc")
        f = 0.5 * f * (1 + torch.tanh(math.sqrt(2 / math.pi) * (f + 0.044715 * f**3)))
        h = h + lin(f, b + "mlp.c_proj")
    return ln(h, "ln_f") @ p["wte.weight"].T


def main(path):
    ours = json.load(open(path))
    B, T, tau, alpha = ours["B"], ours["T"], ours["temperature"], ours["alpha"]
    V = ours["student"]["vocab_size"]
    with np.errstate(over="ignore"):
        drawn = mixed(seed_of("tokens") + np.arange(B * (T + 1), dtype=U)) % U(V)
        teacher = model_of("teacher", ours["teacher"])
        student = model_of("student", ours["student"])
    tokens = torch.from_numpy(drawn.astype(np.int64)).view(B, T + 1)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)
    started = time.time()
    with torch.no_grad():
        y = forward(teacher, ours["teacher"], inputs).view(-1, V)
    for value in student.values():
        value.requires_grad_(True)
    z = forward(student, ours["student"], inputs).view(-1, V)
    ce = F.cross_entropy(z, targets)
    kd = F.kl_div(F.log_softmax(z / tau, -1), F.log_softmax(y / tau, -1), reduction="batchmean", log_target=True)
    loss = alpha * tau**2 * kd + (1 - alpha) * ce
    loss.backward()
    seconds = time.time() - started
    # In float32 the norm of 38.6 million numbers is off by 0.4%.
    norms = {name: value.grad.double().norm().item() for name, value in student.items()}
    record = ours["record"]
    rows = [
        ("loss", record["loss"], loss.item()),
        ("ce", record["ce"], ce.item()),
        ("kd", record["kd"], kd.item()),
        ("gradient norm", record["gradNorm"], math.sqrt(sum(n * n for n in norms.values()))),
    ]
    worst = max(norms, key=lambda name: abs(ours["gradients"][name] / norms[name] - 1))
    rows.append((f"|d {worst}|, the furthest of {len(norms)}", ours["gradients"][worst], norms[worst]))
    limit = 1e-5 if ours["dtype"] == "f32" else 2e-3
    print(f"{'':44}{'Stillhouse':>14}{'PyTorch':>14}{'difference':>12}")
    for name, a, b in rows:
        print(f"{name:44}{a:14.7f}{b:14.7f}{a / b - 1:12.2e}")
    print(f"seconds a step {ours['stepSeconds']:.1f} against {seconds:.1f} ({torch.get_num_threads()} threads)")
    bad = [name for name, a, b in rows if not abs(a / b - 1) < limit]
    if bad:
        print(f"further than {limit} away: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
