"""The layers of Swin (Liu et al. 2021): input, attention in windows, perceptron, merging of patches.

Maps are (N,height,width,channels) here: everything but the attention looks at one place at a time.
"""

from __future__ import annotations

from symbols.blocks import Symbol
from symbols.lazy import mx
from symbols.swin_windows import Constants, Windows, reshape, transpose

# Of ImageNet's photographs, in shares of 255: what the published weights know.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The deviation of the paper's initial weights.
SIGMA = 0.02


def imagenet_input() -> Symbol:
    """Return ``data`` (N,3,H,W) float32 RGB 0..255 less ImageNet's mean, divided by its deviation."""
    mean = _per_colour([255 * value for value in IMAGENET_MEAN], name="data_mean")
    scale = _per_colour([1 / (255 * value) for value in IMAGENET_STD], name="data_scale")
    centred = mx.sym.broadcast_sub(mx.sym.Variable("data"), mean, name="data_centred")
    return mx.sym.broadcast_mul(centred, scale, name="data_scaled")


def _per_colour(values: list[float], *, name: str) -> Symbol:
    parts = [mx.sym.full((1, 1, 1, 1), value, name=f"{name}_{c}") for c, value in zip("rgb", values, strict=True)]
    return mx.sym.concat(*parts, dim=1, name=name)


def layer_norm(data: Symbol, *, name: str) -> Symbol:
    """Normalise the channels of each place."""
    return mx.sym.LayerNorm(data, axis=-1, eps=1e-5, name=name)


def linear(data: Symbol, units: int, *, name: str, bias: bool = True) -> Symbol:
    """Apply a dense layer to the channels of each place; its weights start as in the paper."""
    weight = mx.sym.Variable(f"{name}_weight", init=mx.init.Normal(SIGMA))
    return mx.sym.FullyConnected(data, weight=weight, num_hidden=units, flatten=False, no_bias=not bias, name=name)


def patches(data: Symbol, channels: int, *, size: int, name: str) -> Symbol:
    """Return the map (N,H/size,W/size,channels) of an image (N,3,H,W), a place for each patch of ``size`` pixels."""
    square = (size, size)
    body = mx.sym.Convolution(data, num_filter=channels, kernel=square, stride=square, name=f"{name}_proj")
    return layer_norm(transpose(body, 0, 2, 3, 1, name=f"{name}_map"), name=f"{name}_norm")


def merge(data: Symbol, channels: int, side: tuple[int, int], *, name: str) -> Symbol:
    """Return a map of half the ``side`` and twice the channels: four neighbours become one place.

    Their order, as in the published weights: upper left, lower left, upper right, lower right.
    """
    height, width = side[0] // 2, side[1] // 2
    body = reshape(data, -1, height, 2, width, 2, channels, name=f"{name}_grid")
    body = transpose(body, 0, 1, 3, 4, 2, 5, name=f"{name}_by_place")
    body = reshape(body, -1, height, width, 4 * channels, name=f"{name}_joined")
    return linear(layer_norm(body, name=f"{name}_norm"), 2 * channels, bias=False, name=f"{name}_reduction")


def block(
    data: Symbol, channels: int, *, heads: int, windows: Windows, constants: Constants, drop_path: float, name: str
) -> Symbol:
    """Let places look at one another within ``windows``, then each by itself go through a perceptron.

    ``drop_path``: probability with which a face goes around either in training (Huang et al. 2016).
    """
    seen = windows.cut(layer_norm(data, name=f"{name}_norm1"), channels, name=name)
    seen = attention(seen, channels, heads=heads, windows=windows, constants=constants, name=f"{name}_attn")
    seen = _dropped(windows.join(seen, channels, name=name), drop_path, name=f"{name}_drop1")
    data = mx.sym.elemwise_add(data, seen, name=f"{name}_plus1")
    wide = linear(layer_norm(data, name=f"{name}_norm2"), 4 * channels, name=f"{name}_mlp_fc1")
    wide = mx.sym.LeakyReLU(wide, act_type="gelu", name=f"{name}_mlp_gelu")
    narrow = _dropped(linear(wide, channels, name=f"{name}_mlp_fc2"), drop_path, name=f"{name}_drop2")
    return mx.sym.elemwise_add(data, narrow, name=f"{name}_plus2")


def attention(data: Symbol, channels: int, *, heads: int, windows: Windows, constants: Constants, name: str) -> Symbol:
    """Let the places of each window (N * windows, area, channels) look at one another, in ``heads`` ways at once."""
    area, width = windows.area, channels // heads
    qkv = reshape(linear(data, 3 * channels, name=f"{name}_qkv"), -1, area, 3, heads, width, name=f"{name}_heads")
    qkv = transpose(qkv, 2, 0, 3, 1, 4, name=f"{name}_by_head")
    parts = mx.sym.split(qkv, num_outputs=3, axis=0, squeeze_axis=True, name=f"{name}_parts")
    query, key, value = (
        reshape(parts[place], -1, area, width, name=f"{name}_{what}")
        for place, what in enumerate(("query", "key", "value"))
    )
    query = mx.sym._internal._mul_scalar(query, scalar=width**-0.5, name=f"{name}_query_scaled")
    scores = mx.sym.batch_dot(query, key, transpose_b=True, name=f"{name}_scores")
    scores = _biased(scores, heads=heads, windows=windows, constants=constants, name=name)
    seen = mx.sym.batch_dot(mx.sym.softmax(scores, axis=-1, name=f"{name}_softmax"), value, name=f"{name}_seen")
    seen = reshape(seen, -1, heads, area, width, name=f"{name}_seen_heads")
    seen = transpose(seen, 0, 2, 1, 3, name=f"{name}_by_place")
    return linear(reshape(seen, -1, area, channels, name=f"{name}_joined"), channels, name=f"{name}_proj")


def _biased(scores: Symbol, *, heads: int, windows: Windows, constants: Constants, name: str) -> Symbol:
    """Add to ``scores`` (N * windows * heads, area, area) what is learned of relative places, and the shift's mask."""
    area, mask = windows.area, constants.shift_mask(windows)
    # MXNet decays weights by their names; this one, as in the paper, it leaves alone.
    table = mx.sym.Variable(
        f"{name}_relative_position_bias_table", shape=(windows.offsets, heads), init=mx.init.Normal(SIGMA)
    )
    bias = mx.sym.take(table, constants.position_index(windows), axis=0, mode="clip", name=f"{name}_bias_of_pairs")
    bias = transpose(bias, 1, 0, name=f"{name}_bias_of_heads")
    bias = reshape(bias, 1, 1, heads, area, area, name=f"{name}_bias")
    if mask is not None:
        bias = mx.sym.broadcast_add(bias, mask, name=f"{name}_masked_bias")
    # Only a mask makes a difference between an image's windows.
    apart = 1 if mask is None else windows.counts[0] * windows.counts[1]
    scores = reshape(scores, -1, apart, heads, area, area, name=f"{name}_scores_by_window")
    scores = mx.sym.broadcast_add(scores, bias, name=f"{name}_biased")
    return reshape(scores, -1, area, area, name=f"{name}_biased_scores")


def _dropped(data: Symbol, probability: float, *, name: str) -> Symbol:
    """Drop in training all of a face at once, and scale up what stays."""
    return mx.sym.Dropout(data, p=probability, axes=(1, 2, 3), name=name) if probability else data
