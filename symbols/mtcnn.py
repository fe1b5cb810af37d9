"""MTCNN's three networks (Zhang et al. 2016): P-Net proposes, R-Net refines, O-Net outputs boxes and landmarks.

``data`` is (N,3,H,W) float32 RGB 0..255; normalisation to (x - 127.5) / 128 is part of the graph. Maps keep the image's
orientation: rows are y, columns are x. Outputs: ``prob_output``, the softmax over no face / face on axis 1;
``box_output``, the offsets x1, y1, x2, y2 in shares of the window; O-Net also ``landmark_output``: x of left eye, right
eye, nose, left and right mouth corner, then their y, in shares of the box.

Parameter names, with shapes O,I,kernel,kernel for convolutions and O,I for dense layers:

- P-Net (12x12 window, any size): ``conv1 conv2 conv3`` (3x3; 10, 16, 32), ``prelu1..prelu3``, ``conv4_1`` (prob, 2),
  ``conv4_2`` (box, 4), both 1x1.
- R-Net (24x24): ``conv1 conv2`` (3x3; 28, 48), ``conv3`` (2x2; 64), ``prelu1..prelu3``, ``fc4`` (128), ``prelu4``,
  ``fc5_1`` (prob, 2), ``fc5_2`` (box, 4).
- O-Net (48x48): ``conv1 conv2 conv3`` (3x3; 32, 64, 64), ``conv4`` (2x2; 128), ``prelu1..prelu4``, ``fc5`` (256),
  ``prelu5``, ``fc6_1`` (prob, 2), ``fc6_2`` (box, 4), ``fc6_3`` (landmark, 10).

Each convolution and dense layer has ``_weight`` and ``_bias``, each PReLU ``_gamma`` (one slope per channel). Dense
layers read maps flattened in C,H,W order.
"""

from __future__ import annotations

from symbols.blocks import Symbol, activation, conv, dense, normalised_input, pool
from symbols.lazy import mx


def pnet() -> Symbol:
    """Return P-Net, fully convolutional: ``prob`` (N,2,h,w), ``box`` (N,4,h,w) at stride 2."""
    body = _conv_prelu(normalised_input(), 10, number=1)
    body = pool(body, 2, full=True, name="pool1")
    body = _conv_prelu(body, 16, number=2)
    body = _conv_prelu(body, 32, number=3)
    prob = mx.sym.softmax(conv(body, 2, kernel=1, bias=True, name="conv4_1"), axis=1, name="prob")
    return mx.sym.Group([prob, _output(conv(body, 4, kernel=1, bias=True, name="conv4_2"), name="box")])


def rnet() -> Symbol:
    """Return R-Net for windows of 24x24: ``prob`` (N,2), ``box`` (N,4)."""
    body = pool(_conv_prelu(normalised_input(), 28, number=1), 3, stride=2, full=True, name="pool1")
    body = pool(_conv_prelu(body, 48, number=2), 3, stride=2, full=True, name="pool2")
    body = _conv_prelu(body, 64, number=3, kernel=2)
    body = activation(dense(body, 128, name="fc4"), "prelu", name="prelu4")
    return mx.sym.Group(_answers(body, layer="fc5"))


def onet() -> Symbol:
    """Return O-Net for windows of 48x48: ``prob`` (N,2), ``box`` (N,4), ``landmark`` (N,10)."""
    body = pool(_conv_prelu(normalised_input(), 32, number=1), 3, stride=2, full=True, name="pool1")
    body = pool(_conv_prelu(body, 64, number=2), 3, stride=2, full=True, name="pool2")
    body = pool(_conv_prelu(body, 64, number=3), 2, full=True, name="pool3")
    body = _conv_prelu(body, 128, number=4, kernel=2)
    body = activation(dense(body, 256, name="fc5"), "prelu", name="prelu5")
    return mx.sym.Group([*_answers(body, layer="fc6"), _output(dense(body, 10, name="fc6_3"), name="landmark")])


def _conv_prelu(data: Symbol, filters: int, *, number: int, kernel: int = 3) -> Symbol:
    data = conv(data, filters, kernel=kernel, pad=0, bias=True, name=f"conv{number}")
    return activation(data, "prelu", name=f"prelu{number}")


def _answers(body: Symbol, *, layer: str) -> list[Symbol]:
    prob = mx.sym.softmax(dense(body, 2, name=f"{layer}_1"), axis=1, name="prob")
    return [prob, _output(dense(body, 4, name=f"{layer}_2"), name="box")]


def _output(data: Symbol, *, name: str) -> Symbol:
    """Give an output its own name, whatever the layer behind it is called."""
    return mx.sym.identity(data, name=name)
