"""What a training is told: every flag of train.py besides the augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agegender.config import option
from agegender.errors import UsageError
from agegender.executor import ENGINES
from agegender.pipeline.config import BALANCES

PRECISIONS = ("auto", "fp32", "bf16")
AGE_LOSSES = ("ce", "dldl", "meanvar", "mae", "mse")
TASKS = ("both", "age", "gender")
BEST_BY = ("auto", "MAE", "acc", "CUM_5", "bin_acc")
OPTIMIZERS = ("sgd", "nag", "adam", "rmsprop")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training. None stands for the network's own default (``symbols.NETWORKS``), filled in before it starts.

    Raises UsageError for values out of range.
    """

    network: str = option("m50", help="network to train; a wrong name lists those that exist")
    gpu_ids: str | None = option(None, help="GPUs, such as 0 or 0,1; cpu for none (default: GPU 0 if there is one)")
    engine: str = option(
        "auto",
        choices=("auto", *ENGINES),
        help="what trains: mxnet or torch; auto: mxnet if it can use the GPUs asked for, else torch if that can, else "
        "mxnet on the processor (torch where mxnet is not installed)",
    )
    precision: str = option("auto", choices=PRECISIONS, help="torch only; auto: bf16 on GPUs that have it, else fp32")
    compile: bool = option(False, help="torch only: compile the network first (minutes at the start, faster steps)")
    sync_bn: bool = option(False, help="torch on several GPUs: BatchNorm over the batches of all")
    data_dir: str = option("dataset", help="folder with train.rec and val.rec", metavar="DIR")
    prefix: str | None = option(None, help="where checkpoints go (default: runs/NETWORK/model)", metavar="PREFIX")
    pretrained: str | None = option(
        None, help="start from the parameters of a checkpoint that fit in name and shape", metavar="PREFIX,EPOCH"
    )
    resume: bool = option(False, help="go on from the last checkpoint under the prefix, exactly where it was left")
    end_epoch: int = option(200, help="epochs to train", metavar="N")
    seed: int = option(0, help="seed of initial weights, order, augmentation and dropout")

    data_shape: tuple[int, ...] | None = option(None, help="input as 3,height,width", metavar="3,H,W")
    head: str | None = option(None, choices=("dex", "ssr"), help="dex: softmax over ages; ssr: stagewise regression")
    embedding: int | None = option(None, help="length of the embedding fc1", metavar="N")
    num_layers: int | None = option(None, help="depth of r50's residual network (default: 50)", metavar="N")
    width: float | None = option(None, help="multiplier of the channels of m50 and ssrnet")
    version_input: int | None = option(None, choices=(0, 1), help="stem: 0 = 7x7 at stride 2, 1 = 3x3 at full size")
    version_output: str | None = option(None, help="embedding: E, GAP, GDC ... as in insightface")

    backbone_lr: float | None = option(
        None,
        help="share of the learning rate at which everything below the embedding fc1 moves; 0 leaves all of it as it "
        "is, BatchNorm's statistics included (default: 1; with --resume what the run was begun with)",
        metavar="FACTOR",
    )

    task: str = option("both", choices=TASKS, help="what to learn; the head that is not learned is not scored either")
    age_loss: str | None = option(
        None,
        choices=AGE_LOSSES,
        help="ce: cross-entropy of the year; dldl: KL to a Gaussian around it plus the absolute error; mae, mse: "
        "absolute, squared error; meanvar: ce plus the squared error and the variance of the distribution (default: "
        "dldl for head dex, mae for head ssr, which has no softmax over ages)",
    )
    age_weight: float = option(1.0, help="weight of the age loss beside the gender loss")
    label_smoothing: float = option(0.0, help="share of the gender label (and of ce's age label) spread over all")
    balance: str = option(
        "none",
        choices=BALANCES,
        help="age: rare ages come more often and frequent ones less, as many faces per epoch as before; over: every "
        "face comes, rare ages several times, a longer epoch; under: no face comes twice, frequent ages more seldom, "
        "a shorter epoch",
    )
    label_order: str | None = option(
        None,
        choices=("gender,age", "age,gender"),
        help="order of labels in the records (default: what train.json says)",
    )

    batch_size: int = option(128, help="faces per step and context (GPU)", metavar="N")
    optimizer: str | None = option(
        None, choices=OPTIMIZERS, help="default: the network's own (ssrnet adam, others sgd)"
    )
    lr: float | None = option(None, help="learning rate (default: 0.1, ssrnet 0.001)")
    lr_schedule: str = option("step", choices=("step", "cosine"), help="step: times 0.1 at lr_steps; cosine: down to 0")
    lr_steps: tuple[float, ...] = option((10, 30, 80, 150, 200), help="epochs at which the rate falls to a tenth")
    warmup_epochs: float = option(0.0, help="epochs in which the rate rises from 0", metavar="N")
    mom: float = option(0.9, help="momentum of sgd and nag")
    wd: float | None = option(
        None, help="weight decay, of parameters named *_weight and *_gamma as in MXNet (default: the network's own)"
    )
    ema: float = option(
        0.0, help="decay of a moving average of the parameters, which is then validated and saved; 0 = off"
    )
    kvstore: str | None = option(
        None,
        choices=("local", "device", "dist_sync", "dist_device_sync"),
        help="how gradients meet (default: device; dist_sync where DMLC_* variables are set)",
    )

    eval_every: int = option(1, help="epochs between validations", metavar="N")
    save_every: int = option(
        0, help="keep the checkpoint of every N-th epoch, besides the best and the last", metavar="N"
    )
    best_by: str = option(
        "auto",
        choices=BEST_BY,
        help="auto: lowest MAE; without ages the share in the right bin, without bins gender accuracy",
    )
    frequent: int = option(20, help="batches between log lines", metavar="N")

    def __post_init__(self) -> None:
        at_least_one = ("end_epoch", "batch_size", "eval_every", "frequent")
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is not 1 or more")
        for name in ("save_every", "warmup_epochs", "age_weight", "seed", "lr", "wd"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UsageError(f"{name} {value} is not 0 or more")
        if self.backbone_lr is not None and not 0 <= self.backbone_lr <= 1:
            raise UsageError(f"backbone_lr {self.backbone_lr} is not within 0..1")
        for name in ("ema", "mom", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is not within 0..1 (1 excluded)")
        if self.head == "ssr" and self.age_loss in ("ce", "dldl", "meanvar"):
            raise UsageError(
                f"age_loss {self.age_loss!r} needs a softmax over ages, which head 'ssr' has not (mae, mse)"
            )
        unscored = {"age": ("acc",), "gender": ("MAE", "CUM_5", "bin_acc")}.get(self.task, ())
        if self.best_by in unscored:
            fitting = [name for name in BEST_BY if name not in unscored]
            raise UsageError(f"best_by {self.best_by!r} is not scored with task {self.task!r} ({', '.join(fitting)})")

    @property
    def checkpoint_prefix(self) -> Path:
        """Where checkpoints go."""
        return Path(self.prefix) if self.prefix else Path("runs") / self.network / "model"
