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
    """Training batches. Batch `index` depends on the seed and the index alone."""

    def __init__(self, tokens, B, T, seed):
        self.tokens, self.B, self.T, self.seed = tokens, B, T, seed
        self.windows = max(1, (len(tokens) - T) // T)
        self.epoch = None

    def starts(self, index):
        """(B) the tokens at which the batch's windows start."""
        places = [divmod(index * self.B + row, self.windows) for row in range(self.B)]
        return [self.start(epoch, window) for epoch, window in places]

    def start(self, epoch, window):
        if self.epoch != epoch:
            draw = Random(f'{self.seed}/"epoch {epoch}"')
            last = min(self.T - 1, len(self.tokens) - 1 - self.windows * self.T)
            self.epoch, self.phase = epoch, draw.below(last + 1)
            self.order = list(range(self.windows))
            for i in range(self.windows - 1, 0, -1):
                j = draw.below(i + 1)
                self.order[i], self.order[j] = self.order[j], self.order[i]
        return self.phase + self.order[window] * self.T

    def at(self, index):
        """(B, T) inputs and the token after each."""
        return rows_at(self.tokens, self.starts(index), self.T)


def rows_at(tokens, starts, T):
    rows = torch.from_numpy(np.stack([tokens[s : s + T + 1] for s in starts]).astype(np.int64))
    return rows[:, :-1], rows[:, 1:]


def held_out(tokens, B, T, count):
    """Fixed batches, spread evenly. The last token of a row is not counted, as on the page."""
    available = (len(tokens) - 1) // T
    used = min(available, B * count)
    starts = [row * available // used * T for row in range(used)]
    for first in range(0, used, B):
        inputs, targets = rows_at(tokens, starts[first : first + B], T)
        targets = targets.clone()
        targets[:, -1] = IGNORED
        missing = (0, 0, 0, B - len(inputs))
        yield F.pad(inputs, missing), F.pad(targets, missing, value=IGNORED)


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


def learning_rate(step, s):
    if step <= s.warmup_steps:
        return s.student_lr * step / s.warmup_steps
    if s.lr_schedule == "constant":
        return s.student_lr
    progress = min(1, (step - s.warmup_steps) / max(1, s.train_steps - s.warmup_steps))
    if s.lr_schedule == "linear":
        return s.student_lr * (1 - progress)
    return s.student_lr * (1 + math.cos(math.pi * progress)) / 2
