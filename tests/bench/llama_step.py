"""The same step as llama-step.ts in transformers, float32 on the CPU, from the folder that it wrote.

Usage: python3 tests/bench/llama_step.py FOLDER          (pip install torch transformers)

Prints both sides of each figure, and ends with 1 if the loss is 1e-5 away, or in f32 another figure: in f16 activations
are rounded to 11 bits in every layer, and gradients may be 1e-2 away.
"""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM


def main(folder):
    ours = json.load(open(f"{folder}/step.json"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    shape = (ours["B"], ours["T"])
    inputs, targets = (torch.tensor(ours[name]).view(shape) for name in ("inputs", "targets"))
    started = time.time()
    logits = model(input_ids=inputs, use_cache=False).logits
    loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
    loss.backward()
    seconds = time.time() - started
    norms = {name: p.grad.double().norm().item() for name, p in model.named_parameters()}
    rows = [("loss", ours["record"]["loss"], loss.item(), 1e-5)]
    limit = 1e-4 if ours["dtype"] == "f32" else 1e-2
    total = math.sqrt(sum(n * n for n in norms.values()))
    rows.append(("gradient norm", ours["record"]["gradNorm"], total, limit))
    worst = max(norms, key=lambda name: abs(ours["gradients"][name] / norms[name] - 1))
    rows.append((f"|d {worst}|, the furthest of {len(norms)}", ours["gradients"][worst], norms[worst], limit))
    print(f"{'':70}{'Stillhouse':>14}{'PyTorch':>14}{'difference':>12}")
    for name, a, b, _ in rows:
        print(f"{name:70}{a:14.7f}{b:14.7f}{a / b - 1:12.2e}")
    print(f"seconds a step {ours['stepSeconds']:.1f} against {seconds:.1f} ({torch.get_num_threads()} threads)")
    bad = [name for name, a, b, most in rows if not abs(a / b - 1) < most]
    if bad:
        print(f"too far away: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
