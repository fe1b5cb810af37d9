"""What a training is told: every flag of train.py besides the augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agegender.age_bins import DEFAULT_SCHEME, Bins, parse_bins
from agegender.config import option
from agegender.errors import UsageError
from agegender.executor import ENGINES
from agegender.pipeline.config import BALANCES

PRECISIONS = ("auto", "fp32", "bf16")
AGE_LOSSES = ("ce", "dldl", "meanvar", "mae", "mse")
# What each head can learn its age by, the usual one first.
HEAD_LOSSES = {
    "dex": ("dldl", "ce", "meanvar", "mae", "mse"),
    "ssr": ("mae", "mse"),
    "reg": ("mae", "mse"),
    "bins": ("ce", "mae", "mse"),
}
TASKS = ("both", "age", "gender")
BEST_BY = ("auto", "MAE", "acc", "CUM_5", "bin_acc")
OPTIMIZERS = ("sgd", "nag", "adam", "rmsprop")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training. None stands for the network's own default (``symbols.NETWORKS``), filled in before it starts.

    Raises UsageError for values out of range.
    """

    network: str = option(
        "m50", help="network to train; a wrong name lists those that exist, docs/networks.md describes them"
    )
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
        None,
        help="start from the parameters of a checkpoint that fit in name and shape; of the same network, built as that "
        "was (--data_shape, --version_input ...) where nothing else is said",
        metavar="PREFIX,EPOCH",
    )
    resume: bool = option(False, help="go on from the last checkpoint under the prefix, exactly where it was left")
    end_epoch: int = option(200, help="epochs to train", metavar="N")
    seed: int = option(0, help="seed of initial weights, order, augmentation and dropout")

    data_shape: tuple[int, ...] | None = option(
        None, help="input as 3,height,width; for embeddings numbers,1,1 (default: as the set has them)", metavar="3,H,W"
    )
    head: str | None = option(
        None,
        choices=tuple(HEAD_LOSSES),
        help="dex: softmax over ages; ssr: stagewise regression; reg: one linear unit; bins: softmax over --age_bins",
    )
    age_bins: str | None = option(
        None,
        help="bins of head bins: adience8 (default), adience12 or one's own, such as 0-2,3-9,10-19; an age in no bin "
        "is learned as the nearest, halfway between two as the younger",
        metavar="BINS",
    )
    embedding: int | None = option(None, help="length of the embedding fc1", metavar="N")
    num_layers: int | None = option(None, help="depth of r50's residual network (default: 50)", metavar="N")
    width: float | None = option(None, help="multiplier of the channels of m50 and ssrnet, of mlp's units")
    depth: int | None = option(None, help="residual blocks of mlp", metavar="N")
    dropout: float | None = option(None, help="share of the features that dropout leaves out, where a network has it")
    depths: tuple[int, ...] | None = option(
        None, help="blocks of each stage of swin_s (default: 2,2,18,2; 2,2,6,2 is Swin-Tiny)", metavar="N,N,N,N"
    )
    window: int | None = option(None, help="side of the windows in which swin_s attends (default: 7)", metavar="N")
    drop_path: float | None = option(
        None, help="probability with which a face goes around swin_s's last block, less for those before (default: 0.2)"
    )
    version_input: int | None = option(None, choices=(0, 1), help="stem: 0 = 7x7 at stride 2, 1 = 3x3 at full size")
    version_output: str | None = option(None, help="embedding: E, GAP, GDC ... as in insightface")

    backbone_lr: float | None = option(
        None,
        help="share of the learning rate at which everything below the embedding fc1 moves; 0 leaves all of it as it "
        "is, BatchNorm's statistics included (default: 1; with --resume what the run was begun with)",
        metavar="FACTOR",
    )

    task: str = option("both", choices=TASKS, help="what to learn; a network of one task has no other output")
    age_loss: str | None = option(
        None,
        choices=AGE_LOSSES,
        help="ce: cross-entropy of the year or bin; dldl: KL to a Gaussian around it plus the absolute error; mae, "
        "mse: absolute, squared error; meanvar: ce plus the squared error and the variance of the distribution "
        "(default: dldl for head dex; ce for bins, which has no single years; mae for ssr and reg, which have no "
        "softmax over ages)",
    )
    age_weight: float = option(1.0, help="weight of the age loss beside the gender loss")
    label_smoothing: float = option(0.0, help="share of the gender label (and of ce's age label) spread over all")
    balance: str = option(
        "none",
        choices=BALANCES,
        help="age: rare ages come more often and frequent ones less, as many faces per epoch as before; over: every "
        "face comes, rare ages several times, a longer epoch; under: no face comes twice, frequent ages more seldom, "
        "a shorter epoch; group: both genders equally often at each age, and rare groups more often "
        "(column group of train.csv); cell: as age, and rare cells of gender and group more often",
    )
    label_order: str | None = option(
        None,
        choices=("gender,age", "age,gender"),
        help="order of labels in the records, gender,age or age,gender (default: what train.json says)",
        metavar="ORDER",
    )

    batch_size: int = option(128, help="faces per step and context (GPU)", metavar="N")
    optimizer: str | None = option(None, choices=OPTIMIZERS, help="default: the network's own (sgd for most)")
    lr: float | None = option(
        None, help="learning rate (default: the network's own, such as 0.1 for m50 and 0.001 for ssrnet)"
    )
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
    tensorboard: str | None = option(
        None, help="write curves for TensorBoard into DIR (without DIR: the run's folder)", metavar="DIR", alone="auto"
    )

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
        self._check_head()
        unscored = {"age": ("acc",), "gender": ("MAE", "CUM_5", "bin_acc")}.get(self.task, ())
        if self.best_by in unscored:
            fitting = [name for name in BEST_BY if name not in unscored]
            raise UsageError(f"best_by {self.best_by!r} is not scored with task {self.task!r} ({', '.join(fitting)})")

    def _check_head(self) -> None:
        if self.age_bins is not None:
            parse_bins(self.age_bins)
        if self.head is None:
            return
        if self.age_bins is not None and self.head != "bins":
            raise UsageError(f"age_bins {self.age_bins} is for head 'bins', not for {self.head!r}")
        fitting = HEAD_LOSSES.get(self.head, AGE_LOSSES)
        if self.age_loss is not None and self.age_loss not in fitting:
            what = "single years" if self.head == "bins" else "ages"
            raise UsageError(
                f"age_loss {self.age_loss!r} needs a softmax over {what}, which head {self.head!r} has not "
                f"({', '.join(fitting)})"
            )

    @property
    def bins(self) -> Bins:
        """The bins of head ``bins``, first and last year of each; () for other heads."""
        return parse_bins(self.age_bins or DEFAULT_SCHEME) if self.head == "bins" else ()

    @property
    def checkpoint_prefix(self) -> Path:
        """Where checkpoints go."""
        return Path(self.prefix) if self.prefix else Path("runs") / self.network / "model"
