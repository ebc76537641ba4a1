"""What 8-bit weights cost: the held-out loss of trained models whose linear layers are rounded to int8.

Usage: python3 int8_weights.py FOLDER:TEXT...          (pip install torch transformers)
  e.g. python3 tests/bench/int8_weights.py public/models/moby-teacher:public/corpus/moby-dick.txt

FOLDER is a model as transformers reads it; the last tenth of TEXT is cut into windows of the model's context. Each linear layer of the blocks is replaced by scale * round(w / scale), in
-127..127, where scale = max |w| / 127 over an output's weights (per output), or over blocks of 64 of them; biases,
norms, embeddings and the head stay as they are, but for the last column, where the embedding and head are rounded too.
All in float64 otherwise: the differences are of the rounding alone.
"""
import sys

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

MOST_WINDOWS = 200


def rounded(w, block):
    """w (outputs, inputs), rounded to int8 with a scale for each block of inputs."""
    outputs, inputs = w.shape
    out = torch.empty_like(w)
    for start in range(0, inputs, block or inputs):
        part = w[:, start:start + (block or inputs)]
        scale = (part.abs().amax(1, keepdim=True) / 127).half().to(w.dtype).clamp_min(1e-12)
        out[:, start:start + part.shape[1]] = (part / scale).round().clamp(-127, 127) * scale
    return out


@torch.no_grad()
def held_out_loss(model, windows):
    losses = [F.cross_entropy(model(input_ids=x[:, :-1]).logits.transpose(1, 2), x[:, 1:]).item()
              for x in windows.split(8)]
    sizes = [len(x) for x in windows.split(8)]
    return sum(a * b for a, b in zip(losses, sizes)) / sum(sizes)


def quantise(model, block, everything=False):
    for module in model.modules():
        if isinstance(module, Conv1D):
            module.weight.data = rounded(module.weight.data.T, block).T.contiguous()
        elif isinstance(module, torch.nn.Linear) and (everything or module is not model.get_output_embeddings()):
            module.weight.data = rounded(module.weight.data, block)
    if everything:
        table = model.get_input_embeddings().weight
        table.data = rounded(table.data, block)


def main():
    print("| model | held-out loss | int8 per output | int8, blocks of 64 | int8, blocks of 64, embedding and head too |")
    print("| --- | --- | --- | --- | --- |")
    for pair in sys.argv[1:]:
        folder, text = pair.split(":")
        load = lambda: AutoModelForCausalLM.from_pretrained(folder).double().eval()
        model = load()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = tokenizer(open(text, encoding="utf8").read())["input_ids"]
        held = torch.tensor(ids[len(ids) - len(ids) // 10:])
        T = model.config.max_position_embeddings
        windows = held[:(len(held) - 1) // T * T].view(-1, T)[:MOST_WINDOWS]
        windows = torch.cat([windows, held[T::T][:len(windows), None]], 1)
        plain = held_out_loss(model, windows)
        row = [folder.rstrip("/").split("/")[-1], f"{plain:.4f}"]
        for block, everything in ((None, False), (64, False), (64, True)):
            model = load()
            quantise(model, block, everything)
            loss = held_out_loss(model, windows)
            row.append(f"{loss:.4f} ({100 * (loss / plain - 1):+.3f}%)")
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
