"""The same run by TRL's GKDTrainer: the same batches in the same order, the same divergence.

    pip install trl==1.13.0
    python gkd.py

TRL slices logits[:, :-1], so that distill.py agrees with --train_loss_path strided. It has neither
evaluations nor a checkpoint that Stillhouse reads; `gkd/` is the student.
"""

import json
from pathlib import Path
from types import SimpleNamespace

from datasets import Dataset
from safetensors.torch import load_file
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoTokenizer, default_data_collator
from trl.experimental.gkd import GKDConfig, GKDTrainer

from models import adamw, open_model
from stillhouse import IGNORED, Batches, learning_rate

HERE = Path(__file__).resolve().parent
s = SimpleNamespace(**json.loads((HERE / "settings.json").read_text()))
recipe = json.loads((HERE / "recipe.json").read_text())


class AtTemperature(GKDTrainer):
    """GKD's loss at the run's temperature, times T². TRL 1.13 leaves both out."""

    @staticmethod
    def generalized_jsd_loss(*args, **kwargs):
        loss = GKDTrainer.generalized_jsd_loss(*args, **kwargs, temperature=s.temperature)
        return s.temperature**2 * loss


def rows():
    for index in range(s.train_steps * s.gradient_accumulation):
        fed, targets = batches.at(index)
        for ids, follow in zip(fed["input_ids"].tolist(), targets.tolist()):
            labels = [IGNORED, *follow[:-1]]
            yield {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


tokens = load_file(HERE / "tokens.safetensors")
text = {name[6:]: values.numpy() for name, values in tokens.items() if name.startswith("train.")}
batches = Batches(text, s.batch_size, s.max_length, s.seed, s.packing)
student = open_model(recipe["student"])
optimizer = adamw(student, s)
kind = s.kd_loss if s.loss == "mixed" else s.loss
trainer = AtTemperature(
    model=student,
    teacher_model=open_model(recipe["teacher"]),
    processing_class=AutoTokenizer.from_pretrained(HERE / "student"),
    train_dataset=Dataset.from_list(list(rows())),
    data_collator=default_data_collator,
    optimizers=(optimizer, LambdaLR(optimizer, lambda n: learning_rate(n + 1, s) / s.student_lr)),
    args=GKDConfig(
        output_dir="gkd",
        lmbda=0.0,  # the data set's own texts, none of the student's
        beta={"fkl": 0.0, "rkl": 1.0, "jsd": s.kd_beta}[kind],
        max_steps=s.train_steps,
        per_device_train_batch_size=s.batch_size,
        gradient_accumulation_steps=s.gradient_accumulation,
        max_grad_norm=s.max_grad_norm,
        train_sampling_strategy="sequential",
        gradient_checkpointing=s.gradient_checkpointing == "on",
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    ),
)
trainer.train()
trainer.save_model()
