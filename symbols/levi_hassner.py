"""The CNN of Levi and Hassner (CVPRW 2015, "Age and Gender Classification Using Convolutional Neural Networks")."""

from __future__ import annotations

from symbols import heads
from symbols.blocks import Symbol, activation, conv, dense, normalised_input, pool
from symbols.lazy import mx
from symbols.network import Network

# (filters, kernel, stride, padding) of the three convolutions.
LAYERS = ((96, 7, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1))
FIRST_DENSE = 512
DROPOUT = 0.5
# As in AlexNet, with Caffe's k of 1. The usual alpha of 1e-4 is for maps of pixels 0..255; ours are divided by 128
# first, and with 128^2 times that alpha such maps are divided by the same.
LRN = {"nsize": 5, "alpha": 1.6384, "beta": 0.75, "knorm": 1.0}
SMALLEST = 51


def levi_hassner(
    *,
    head: str,
    embedding: int,
    data_shape: tuple[int, int, int],
    width: float = 1.0,
    dropout: float = DROPOUT,
    age_bins: heads.Bins = heads.ADIENCE_8,
) -> Symbol:
    """Build the net with head ``bins``, ``dex`` or ``reg``, for age and gender at once (the paper has a net for each).

    Three times convolution, relu and max pooling (3x3, stride 2, sizes rounded up as Caffe does: 28, 14 and 7 pixels
    of 227), the first two with local response normalisation; two dense layers with relu and dropout, of which the
    second is ``fc1``. ``width`` multiplies the channels of the convolutions and of the first dense layer.
    Raises ValueError where ``width`` leaves no channels, ``dropout`` is no share or a side is below 51.
    """
    if min(data_shape[1:]) < SMALLEST:
        raise ValueError(f"data shape {data_shape}: levi_hassner needs sides of at least {SMALLEST}")
    if LAYERS[0][0] * width < 1:
        raise ValueError(f"width {width} leaves no channels (at least {1 / LAYERS[0][0]:.4f})")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout {dropout} is not within 0..1")
    body = normalised_input()
    for number, (filters, kernel, stride, pad) in enumerate(LAYERS, start=1):
        body = conv(body, int(filters * width), kernel=kernel, stride=stride, pad=pad, bias=True, name=f"conv{number}")
        body = pool(activation(body, "relu", name=f"relu{number}"), 3, stride=2, full=True, name=f"pool{number}")
        if number < len(LAYERS):
            body = mx.sym.LRN(body, name=f"norm{number}", **LRN)
    body = activation(dense(body, int(FIRST_DENSE * width), name="fc0"), "relu", name="fc0_relu")
    body = _dropped(body, dropout, name="fc0_dropout")
    fc1 = activation(dense(body, embedding, name="pre_fc1"), "relu", name="fc1")
    return heads.attach(head, fc1, _dropped(fc1, dropout, name="fc1_dropout"), age_bins=age_bins)


def _dropped(data: Symbol, share: float, *, name: str) -> Symbol:
    return mx.sym.Dropout(data, p=share, name=name) if share else data


NETWORK = Network(
    name="levi_hassner",
    builder=levi_hassner,
    data_shape=(3, 227, 227),
    embedding=512,
    head="bins",
    heads=("bins", "dex", "reg"),
    arguments={"width": 1.0, "dropout": DROPOUT},
    optimizer="sgd",
    lr=0.01,
    wd=5e-4,
    sides=1,
    paper_note="the paper has a net for age (8 bins) and one for gender, and states no count; this is one net for both",
)
