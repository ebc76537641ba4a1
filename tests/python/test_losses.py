"""The recipe’s divergences beside TRL’s, and the balance of routers beside transformers’, on random
logits."""

import sys
from pathlib import Path

import pytest
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from trl.experimental.gkd import GKDTrainer
from trl.trainer.distillation_trainer import _chunked_divergence_loss

sys.path.append(str(Path(__file__).resolve().parents[2] / "src/distill/recipe"))
from stillhouse import DIVERGENCES, divergence, router_losses  # noqa: E402

# TRL's beta for each: it has forward KL at 0 and reverse KL at 1.
IN_TRL = [("fkl", 0), ("rkl", 1), ("jsd", 0.1), ("jsd", 0.5), ("jsd", 0.9)]


@pytest.mark.parametrize("name, beta", IN_TRL)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_divergences_and_their_gradients_are_those_of_trl(name, beta, temperature):
    generator = torch.Generator().manual_seed(1)
    logits = [4 * torch.randn(2, 5, 40, generator=generator) for _ in range(2)]
    student, teacher = logits[0].requires_grad_(), logits[1]
    labels = torch.tensor([[1, 2, -100, 3, 4], [5, -100, 6, 7, 8]])
    kept = labels != -100
    mine = divergence(name, beta or 0.5, temperature, student, teacher)[kept].sum() / kept.sum()
    theirs = GKDTrainer.generalized_jsd_loss(
        student, teacher, labels=labels, beta=beta, temperature=temperature
    )
    # DistillationTrainer makes the logits itself: with a head of ones on the diagonal, from them.
    head = torch.eye(40)
    chunked, *_ = _chunked_divergence_loss(
        student, teacher, head, head, kept, beta=float(beta), chunk_size=3, temperature=temperature
    )
    [a] = torch.autograd.grad(mine, student)
    for other in (theirs, chunked):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)
        [b] = torch.autograd.grad(other, student)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["sfkl", "srkl"])
def test_skew_divergences_are_halves_of_the_generalised_jsd(name):
    """β KL(p ‖ m) + (1 − β) KL(q ‖ m) with both skews' own m is TRL's sum of the two terms."""
    generator = torch.Generator().manual_seed(2)
    student, teacher = (4 * torch.randn(1, 6, 30, generator=generator) for _ in range(2))
    beta = 0.3
    weight = beta if name == "sfkl" else 1 - beta
    jsd = GKDTrainer.generalized_jsd_loss(student, teacher, beta=weight, reduction="sum")
    other = "srkl" if name == "sfkl" else "sfkl"
    terms = {"sfkl": weight, "srkl": 1 - weight}
    mine = terms[name] * divergence(name, beta, 1.0, student, teacher).sum()
    mine += terms[other] * divergence(other, 1 - beta, 1.0, student, teacher).sum()
    torch.testing.assert_close(mine, jsd, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_cache_of_every_token_but_one_loses_nothing(name):
    """The tail of one token is that token: k = V − 1 gives the divergence of all logits."""
    generator = torch.Generator().manual_seed(3)
    student, teacher = (2 * torch.randn(1, 4, 12, generator=generator) for _ in range(2))
    values, ids = (teacher - teacher.amax(-1, keepdim=True)).topk(11)
    rest = (teacher - teacher.amax(-1, keepdim=True)) / 2.0
    tail = rest.scatter(-1, ids, float("-inf")).logsumexp(-1, keepdim=True)
    whole = divergence(name, 0.4, 2.0, student, teacher)
    torch.testing.assert_close(divergence(name, 0.4, 2.0, student, (values, ids, tail)), whole)


def test_the_balance_of_routers_is_transformers_own():
    draw = torch.Generator().manual_seed(3)
    logits = [torch.randn(40, 6, generator=draw, requires_grad=True) for _ in range(2)]
    made = [(layer, layer.topk(2).indices) for layer in logits]
    balance, z, kd = router_losses(made, [layer.detach() for layer in logits], lambda total: total)
    theirs = load_balancing_loss_func(tuple(logits), 6, 2)
    torch.testing.assert_close(balance, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(one, logits)[0] for one in (balance, theirs)))
    torch.testing.assert_close(z, torch.cat(logits).logsumexp(-1).square().mean())
    assert float(kd) == 0
