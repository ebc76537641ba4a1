"""The bench's training step in PyTorch: float32, one thread of the CPU. Started by peer-pytorch.ts (Debian: python3-torch, python3-numpy).

Reads a line of JSON {config, B, T} and answers with the name of the BLAS library that multiplies its matrices, which decides its speed; then, for each line `step`, takes one AdamW step and answers
with the loss that it began with.
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F

from story_pair import U, forward, mixed, model_of, seed_of

# As in peer.ts.
LEARNING_RATE, BETAS, EPSILON, WEIGHT_DECAY = 1e-3, (0.9, 0.95), 1e-8, 1


def answer(value):
    print(value, flush=True)


def blas():
    """The BLAS that is loaded (Linux): Debian's own is the slow reference, unless libopenblas0 is installed."""
    torch.ones(64, 64) @ torch.ones(64, 64)
    try:
        maps = open("/proc/self/maps").read()
    except OSError:
        return "its own BLAS"
    names = [name for name in ("openblas", "mkl", "blis", "libblas") if name in maps.lower()]
    return {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS", "libblas": "reference BLAS"}[names[0]] if names else "its own BLAS"


def main():
    torch.set_num_threads(1)
    task = json.loads(sys.stdin.readline())
    cfg, B, T = task["config"], task["B"], task["T"]
    V = cfg["vocab_size"]
    with np.errstate(over="ignore"):
        drawn = mixed(seed_of("tokens") + np.arange(B * (T + 1), dtype=U)) % U(V)
        model = model_of("bench", cfg)
    tokens = torch.from_numpy(drawn.astype(np.int64)).view(B, T + 1)
    inputs, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)
    for value in model.values():
        value.requires_grad_(True)
    matrices = [value for value in model.values() if value.dim() == 2]
    vectors = [value for value in model.values() if value.dim() != 2]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0}]
    adam = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
    answer(blas())
    for _ in sys.stdin:
        adam.zero_grad(set_to_none=True)
        loss = F.cross_entropy(forward(model, cfg, inputs).view(-1, V), targets)
        loss.backward()
        adam.step()
        answer(loss.item())


if __name__ == "__main__":
    main()
