"""What must agree with Stillhouse: the order of the data, the losses and the learning rate.

B sequences of T tokens, V tokens in the vocabulary.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

IGNORED = -100

# ---- the data: README.md specifies this order in words


class Random:
    """xoshiro128**; its state is a hash of a text."""

    def __init__(self, text):
        self.state = s = [1, 2, 3, 4]
        for char in text:
            for lane in range(4):
                h = (s[lane] * 0x9E3779B1 + ord(char) + s[(lane + 1) % 4]) & 0xFFFFFFFF
                h = ((h ^ (h >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
                h = ((h ^ (h >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
                s[lane] = h ^ (h >> 16)

    def below(self, n):
        """A whole number from 0 to n − 1."""
        s = self.state
        rotated = lambda x, by: ((x << by) | (x >> (32 - by))) & 0xFFFFFFFF
        bits = (rotated((s[1] * 5) & 0xFFFFFFFF, 7) * 9) & 0xFFFFFFFF
        shifted = (s[1] << 9) & 0xFFFFFFFF
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotated(s[3], 11)
        return int(bits / 2**32 * n)


class Batches:
    """Training batches. Batch `index` depends on the seed and the index alone.

    A text is its `tokens` (N), where its `documents` begin, and, if some tokens are no targets,
    `learned` (N), 0 for those. `packing` is the setting.
    """

    def __init__(self, text, B, T, seed, packing):
        self.text, self.B, self.T, self.seed, self.packing = text, B, T, seed, packing
        self.N, self.alone = len(text["tokens"]), documents_alone(text, T, packing)
        self.windows = len(self.alone) if self.alone else max(1, (self.N - T) // T)
        self.epoch = None

    def starts(self, index):
        """(B) the tokens at which the batch's windows start."""
        return [start for start, _ in self.places(index)]

    def places(self, index):
        """(B) where each row starts, and how many targets it has."""
        rows = [divmod(index * self.B + row, self.windows) for row in range(self.B)]
        return [self.place(epoch, window) for epoch, window in rows]

    def place(self, epoch, window):
        if self.epoch != epoch:
            draw = Random(f'{self.seed}/"epoch {epoch}"')
            last = min(self.T - 1, self.N - 1 - self.windows * self.T)
            self.epoch, self.phase = epoch, draw.below(last + 1)
            self.order = list(range(self.windows))
            for i in range(self.windows - 1, 0, -1):
                j = draw.below(i + 1)
                self.order[i], self.order[j] = self.order[j], self.order[i]
        at = self.order[window]
        return self.alone[at] if self.alone else (self.phase + at * self.T, self.T)

    def at(self, index):
        """What a model is fed, and the token after each, (B, T)."""
        return rows_at(self.text, self.places(index), self.B, self.T, self.packing)


def documents_alone(text, T, packing):
    """Each document cut into parts of at most T targets: where they start, and how many."""
    if packing != "off":
        return None
    starts = [*map(int, text["documents"]), len(text["tokens"])]
    return [
        (first + part, min(T, end - first - 1 - part))
        for first, end in zip(starts, starts[1:])
        for part in range(0, max(0, end - first - 1), T)
    ]


def rows_at(text, places, B, T, packing):
    """(B, T) inputs and targets; what is missing at a row's or the batch's end is ignored."""
    inputs = np.zeros((B, T), np.int64)
    targets = np.full((B, T), IGNORED, np.int64)
    positions = np.tile(np.arange(T), (B, 1))
    for row, (start, count) in enumerate(places):
        inputs[row, :count] = text["tokens"][start : start + count]
        targets[row, :count] = text["tokens"][start + 1 : start + 1 + count]
        if "learned" in text:
            targets[row, :count][text["learned"][start + 1 : start + 1 + count] == 0] = IGNORED
        if packing == "masked":
            # Positions restart with each document, whose first token is no target.
            at, documents = np.arange(start, start + count), text["documents"]
            begin = documents[np.searchsorted(documents, at, side="right") - 1]
            positions[row, :count] = at - np.maximum(begin, start)
            targets[row, :count][np.isin(at + 1, documents)] = IGNORED
    fed = {"input_ids": torch.from_numpy(inputs)}
    if packing == "masked":  # by which transformers keeps attention inside each document
        fed["position_ids"] = torch.from_numpy(positions)
    return fed, torch.from_numpy(targets)


def held_out(text, B, T, count, packing):
    """Fixed batches, spread evenly. The last token of a row is not counted, as on the page."""
    alone = documents_alone(text, T, packing)
    available = len(alone) if alone else (len(text["tokens"]) - 1) // T
    used = min(available, B * count)
    windows = [row * available // used for row in range(used)]
    places = [alone[at] if alone else (at * T, T) for at in windows]
    for first in range(0, used, B):
        fed, targets = rows_at(text, places[first : first + B], B, T, packing)
        targets[:, -1] = IGNORED
        yield fed, targets


# ---- the loss: src/divergences.ts and src/reference/losses.ts of Stillhouse


def kl(log_a, log_b):
    return (log_a.exp() * (log_a - log_b)).sum(-1)


def mixture(weight, log_a, log_b):
    """ln(w a + (1 − w) b)"""
    return torch.logaddexp(log_a + math.log(weight), log_b + math.log(1 - weight))


def jsd(p, q, beta):
    m = mixture(beta, p, q)
    return beta * kl(p, m) + (1 - beta) * kl(q, m)


DIVERGENCES = {  # of ln p (teacher) and ln q (student), (…, V) → (…)
    "fkl": lambda p, q, beta: kl(p, q),
    "rkl": lambda p, q, beta: kl(q, p),
    "jsd": jsd,
    "sfkl": lambda p, q, beta: kl(p, mixture(beta, p, q)),
    "srkl": lambda p, q, beta: kl(q, mixture(beta, q, p)),
    "tvd": lambda p, q, beta: (p.exp() - q.exp()).abs().sum(-1) / 2,
}


def divergence(name, beta, temperature, student, teacher):
    """D(p, q) of each token. `teacher`: logits (B, T, V), or the cache's (values, ids, tail)."""
    q = F.log_softmax(student / temperature, -1)
    if torch.is_tensor(teacher):
        p = F.log_softmax(teacher / temperature, -1).clamp_min(-1e30)
    else:
        values, ids, tail = teacher
        rest = q.scatter(-1, ids, float("-inf")).logsumexp(-1, keepdim=True)
        q = torch.cat([q.gather(-1, ids), rest], -1)
        p = F.log_softmax(torch.cat([values / temperature, tail], -1), -1).clamp_min(-1e30)
    return DIVERGENCES[name](p, q, beta)


def cross_entropy(student, targets, smoothing=0.0, z_loss=0.0):
    """(B, T), 0 where the target is ignored."""
    ce = F.cross_entropy(
        student.transpose(1, 2),
        targets,
        reduction="none",
        ignore_index=IGNORED,
        label_smoothing=smoothing,
    )
    return ce + z_loss * student.logsumexp(-1) ** 2 * (targets != IGNORED)


def router_losses(made, taught, reduce):
    """(3) balance, z-loss and divergence from the teacher's routers: what these rows add to each.

    `made`: of each layer with experts the logits (M, E) and the choices (M, k). `taught`: the
    teacher's logits, if the student's learn from them. `reduce` adds up over all processes.
    """
    logits, chosen = (torch.cat(each) for each in zip(*made))
    E = logits.shape[1]
    counts = torch.bincount(chosen.flatten(), minlength=E).float()
    *_, M = counts = reduce(torch.cat([counts, counts.new_tensor([len(logits)])]))
    balance = E * (counts[:E] / M * logits.softmax(-1)).sum() / M
    z = logits.logsumexp(-1).square().sum() / M
    if not taught:
        return torch.stack([balance, z, torch.zeros_like(z)])
    kd = kl(torch.cat(taught).log_softmax(-1), logits.log_softmax(-1)).sum() / M
    return torch.stack([balance, z, kd])


def move_biases(biases, loads, rate):
    """Balance without a loss, in each layer: b_e += rate · sign(mean load − load_e)."""
    for bias, load in zip(biases, loads):
        bias += rate * torch.sign(load.sum() - len(load) * load)


def learning_rate(step, s):
    if step <= s.warmup_steps:
        return s.student_lr * step / s.warmup_steps
    if s.lr_schedule == "constant":
        return s.student_lr
    progress = min(1, (step - s.warmup_steps) / max(1, s.train_steps - s.warmup_steps))
    if s.lr_schedule == "linear":
        return s.student_lr * (1 - progress)
    return s.student_lr * (1 + math.cos(math.pi * progress)) / 2
