"""ResNet with insightface's improved residual units (ArcFace, Deng et al. 2019)."""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, activation, batch_norm, conv, normalised_input
from symbols.embedding import embedding as embed
from symbols.embedding import stem
from symbols.lazy import mx
from symbols.network import Network

# Units in the four stages.
UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    74: (3, 6, 24, 3),
    90: (3, 8, 30, 3),
    100: (3, 13, 30, 3),
}
FILTERS = (64, 128, 256, 512)
ACT = "prelu"


def resnet(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    num_layers: int = 50,
    version_input: int = 1,
    version_output: str = "E",
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build a ResNet; names of nodes and parameters are insightface's, so that its backbones can seed ours.

    With ``version_input`` 1 every stage halves the map (112 -> 56, 28, 14, 7), with 0 the stem divides by four and the
    first stage keeps the size (224 -> 56, 56, 28, 14, 7). ``version_output`` as in ``embedding``.
    Raises ValueError for a depth or version that does not exist.
    """
    if num_layers not in UNITS:
        raise ValueError(f"unknown num_layers {num_layers!r} ({', '.join(map(str, UNITS))})")
    body = stem(normalised_input(), FILTERS[0], version=version_input, act=ACT)
    first_stride = 2 if version_input == 1 else 1
    for stage, (filters, units) in enumerate(zip(FILTERS, UNITS[num_layers], strict=True), start=1):
        stride = first_stride if stage == 1 else 2
        body = _unit(body, filters, name=f"stage{stage}_unit1", stride=stride, project=True)
        for unit in range(2, units + 1):
            body = _unit(body, filters, name=f"stage{stage}_unit{unit}")
    shrink = 16 if version_input == 1 else 32
    side = (-(-data_shape[1] // shrink), -(-data_shape[2] // shrink))
    fc1 = embed(body, embedding, version=version_output, act=ACT, side=side, channels=FILTERS[-1])
    return heads.attach(head, fc1, age_bins=age_bins)


def _unit(data: Symbol, filters: int, *, name: str, stride: int = 1, project: bool = False) -> Symbol:
    """Return BN-conv-BN-PReLU-conv(stride)-BN plus the shortcut (insightface's ``residual_unit_v3``)."""
    body = conv(batch_norm(data, name=f"{name}_bn1"), filters, name=f"{name}_conv1")
    body = activation(batch_norm(body, name=f"{name}_bn2"), ACT, name=f"{name}_relu1")
    body = batch_norm(conv(body, filters, stride=stride, name=f"{name}_conv2"), name=f"{name}_bn3")
    if project:
        data = conv(data, filters, kernel=1, stride=stride, name=f"{name}_conv1sc")
        data = batch_norm(data, name=f"{name}_sc")
    return mx.sym.elemwise_add(body, data, name=f"{name}_plus")


NETWORK = Network(
    name="r50",
    builder=resnet,
    embedding=512,
    heads=heads.COMMON,
    arguments={"num_layers": 50, "version_input": 1, "version_output": "E"},
    paper_params=43_590_000,
    paper_note="insightface's r50 at 112x112 with embedding E of 512 and no classifier (the ArcFace paper states no "
    "number); ours without gender and age (52,839) is 43,590,848.",
)
