"""tools/convert.py on nets as MXNet saved them: what it finds, prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agegender.deploy.net import Net
from agegender.executor import EXECUTORS, open_executor
from agegender.face.preprocess import InputSpec
from agegender.face.templates import get_template
from agegender.files import sha256_file
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import ModelInfo, info_path, read_info, write_info
from agegender.readout import LABEL_ORDERS, LAYOUTS, Readout
from tests import old_nets
from tools import convert as tool

ROOT = Path(__file__).resolve().parents[2]
RED = np.zeros((9, 9, 3), np.uint8) + np.array([200, 100, 0], np.uint8)


def run(*arguments: object) -> int:
    return tool.main([*map(str, arguments)])


def net(prefix: Path) -> Net:
    """Open what was converted, on the CPU."""
    checkpoint = load_checkpoint(prefix)
    return Net(checkpoint.info, open_executor(checkpoint, gpu_ids="cpu"), source=info_path(prefix), template="arcface")


def lines(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    assert run(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("convert.py: error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("convert.py: error: ").strip()


def test_ordinal_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = old_nets.ordinal(tmp_path / "model", age=31, male=0.8)
    before = {path.name: sha256_file(path) for path in tmp_path.iterdir()}
    assert run(f"{prefix},0", "--head_layout", "ordinal", "--template", "arcface", "--input_size", 8) == 0
    told = lines(capsys.readouterr().out)
    assert told == {
        "model": f"{prefix}, epoch 0: 4 operators",
        "parameters": f"{202 * 193:,} in 2 arrays",
        "input": "data: 8x8 RGB, 0..255 as it is",
        "template": "arcface, crops of 112 pixels",
        "outputs": "fc1_output 202",
        "gender": "fc1_output columns 0 to 1, logits: female, male",
        "age": "fc1_output columns 2 to 201, logits: 100 pairs (no, yes), age is how many say yes",
        "trial": "3 random pictures: ages 31.0 to 31.0, male by 0.80 to 0.80",
        "written": f"{prefix}.json",
    }
    assert {name: sha256_file(tmp_path / name) for name in before} == before
    info = read_info(prefix)
    assert info is not None
    assert (info.head, info.task, info.best, info.last) == ("ordinal", "both", 0, 0)
    assert info.input == {"shape": [3, 8, 8], "colour": "RGB", "range": [0, 255]}
    assert info.template == get_template("arcface").to_json(112)
    assert info.extra == {
        "converted": {"from": "model-0000.params", "sha256": before["model-0000.params"]},
    }
    reading = net(prefix).read([RED, RED])
    assert reading.age is not None and reading.gender is not None and reading.distribution is not None
    assert reading.age.tolist() == [31, 31]
    assert np.allclose(reading.gender, [[0.2, 0.8]] * 2, atol=1e-5)
    yes = 1 / (1 + np.exp(-4))
    assert reading.distribution[0] @ np.arange(101) == pytest.approx(31 * yes + 69 * (1 - yes), abs=1e-3)


def test_ordinal_as_trained_becomes_a_small_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With 101 SoftmaxOutputs, a label cut for a batch of 128, and the JSON of MXNet 0.8."""
    prefix = old_nets.ordinal(tmp_path / "old" / "model", age=52, male=0.1, training=True)
    old_nets.as_old_json(prefix)
    target = tmp_path / "models" / "ga" / "ga"
    flags = ("--head_layout", "ordinal", "--input_size", 8, "--label_order", "male,female", "--output", target)
    assert run(prefix, *flags) == 0
    told = lines(capsys.readouterr().out)
    assert told["left"] == "out    softmax_label"
    assert told["outputs"].endswith("..., age_softmax_99_output 2, all_output 202")
    assert told["age"].startswith("all_output columns 2 to 201, logits")
    assert told["template"] == "not said: infer.py has to be told, --template arcface or utkface"
    assert told["written"] == f"{target}.json with symbol and parameters"
    assert sorted(path.name for path in target.parent.iterdir()) == ["ga-0000.params", "ga-symbol.json", "ga.json"]
    assert load_checkpoint(target).graph.outputs() == ["all_output"]
    assert not info_path(prefix).exists()
    reading = net(target).read([RED])
    assert reading.age is not None and reading.age.tolist() == [52]
    # Its second column is the woman here.
    assert reading.gender is not None and np.allclose(reading.gender, [[0.1, 0.9]], atol=1e-5)


def test_dex_with_labels_and_losses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = old_nets.dex(tmp_path / "model", age=40, male=0.3)
    assert run(prefix, "--head_layout", "dex", "--input_size", 8) == 0
    told = lines(capsys.readouterr().out)
    assert told["left"] == "out    age_label, gender_label"
    assert told["outputs"] == "age_prob_output 101, gender_prob_output 2"
    assert told["age"] == "age_prob_output, probabilities: ages 0..100, expected age"
    assert told["gender"] == "gender_prob_output, probabilities: female, male"
    reading = net(prefix).read([RED])
    assert reading.age is not None and reading.age[0] == pytest.approx(40, abs=1e-3)
    assert reading.gender is not None and reading.gender[0].tolist() == pytest.approx([0.7, 0.3])


def test_inner_nodes_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where MXNet's users wrote ``get_internals()['age_fc_output']``; the rest is left out of the copy."""
    prefix = old_nets.dex(tmp_path / "old" / "model", classes=100, age=40)
    target = tmp_path / "copy" / "model"
    flags = ("--head_layout", "dex", "--outputs", "age=age_fc,embedding=flat", "--age_bins", "1..100")
    said = refused(capsys, prefix, *flags, "--input_size", 8)
    assert said == (
        "--outputs: age_fc is an inner node, not an output (age_prob_output, gender_prob_output); "
        "--output PREFIX writes a copy that ends there"
    )
    assert run(prefix, *flags, "--input_size", 8, "--output", target) == 0
    assert lines(capsys.readouterr().out)["age"] == "age_fc_output, logits: ages 1..100, expected age"
    assert load_checkpoint(target).graph.outputs() == ["gender_prob_output", "age_fc_output", "flat_output"]
    reading = net(target).read([RED])
    assert reading.age is not None and reading.age[0] == pytest.approx(41, abs=1e-3)
    assert reading.embedding is not None and reading.embedding.shape == (1, 3 * 8 * 8)
    info = read_info(target)
    assert info is not None and info.age_bins == [float(age) for age in range(1, 101)]


@pytest.mark.parametrize("engine", EXECUTORS)
def test_ssr_on_its_own_colours_with_a_further_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    if engine != "mxnet":
        pytest.importorskip(engine)
    prefix = old_nets.mean_of_channel(tmp_path / "old" / "model", channel=2)
    target = tmp_path / "new" / "age"
    flags = ["--head_layout", "ssr", "--outputs", "age=pred", "--input_size", 8, "--engine", engine]
    flags += ["--colour", "bgr", "--mean", "127.5", "--scale", "1/128"]
    said = refused(capsys, prefix, *flags, code=1)
    assert said == (
        f"{prefix}-0003.params lacks 1 parameters of the graph: stage_num0; with --output, --constant "
        "stage_num0=VALUES fixes what is an input, and --outputs leaves out what isn't wanted"
    )
    said = refused(capsys, prefix, *flags, "--constant", "stage_num0=0,7,2")
    assert said == "--constant needs --output: the values become parameters, and the old file stays as it is"
    assert run(prefix, *flags, "--constant", "stage_num0=0,7,2", "--output", target) == 0
    told = lines(capsys.readouterr().out)
    assert told["input"] == "data: 8x8 BGR, (value - 127.5) * 0.0078125"
    assert told["fixed"] == "stage_num0"
    assert told["age"] == "pred_output: years"
    assert told["gender"] == "none"
    opened = net(target)
    # Channel 2 of BGR is red, 200; and twice the 7.
    reading = opened.read([RED, RED])
    assert reading.age is not None and reading.age.tolist() == pytest.approx([(200 - 127.5) / 128 + 14] * 2, abs=1e-5)
    assert (opened.readout.task, reading.gender, reading.distribution) == ("age", None, None)


def test_several_epochs(tmp_path: Path) -> None:
    prefix = old_nets.dex(tmp_path / "model", age=10)
    (tmp_path / "model-0007.params").write_bytes((tmp_path / "model-0000.params").read_bytes())
    assert run(f"{prefix},0", "--head_layout", "dex", "--input_size", 8) == 0
    info = read_info(prefix)
    assert info is not None and (info.best, info.last) == (0, 7)


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = old_nets.dex(tmp_path / "old" / "model")
    write_info(prefix, ModelInfo(network="theirs"))
    flags = ("--head_layout", "dex", "--input_size", 8)
    said = refused(capsys, prefix, *flags)
    assert said == (f"{prefix}.json exists already; --overwrite replaces it, --output PREFIX writes a copy elsewhere")
    target = tmp_path / "new" / "model"
    old_nets.dex(target)
    assert refused(capsys, prefix, *flags, "--output", target) == (
        f"{target}-symbol.json exists already; --overwrite replaces it"
    )
    assert refused(capsys, prefix, *flags, "--output", prefix, "--overwrite") == (
        f"--output {prefix} is the checkpoint itself; without --output only its .json is written"
    )
    info = read_info(prefix)
    assert info is not None and info.network == "theirs"
    assert run(prefix, *flags, "--overwrite") == 0
    assert run(prefix, *flags, "--overwrite", "--output", target) == 0
    info = read_info(prefix)
    assert info is not None and (info.network, info.head) == ("", "dex")


def test_a_failure_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = old_nets.dex(tmp_path / "model")
    said = refused(capsys, prefix, "--head_layout", "ssr", "--input_size", 8, "--output", tmp_path / "new")
    assert said == (
        "no output fits layout ssr: outputs with a single column, the age and the gender (gender_prob_output alone "
        "would do as gender); outputs and their widths: age_prob_output 101, gender_prob_output 2. Another "
        "--head_layout, --outputs age=NAME or gender=NAME or --age_bins decides"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-0000.params", "model-symbol.json"]


def test_a_net_that_cannot_take_that_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = old_nets.dex(tmp_path / "model", side=8)
    said = refused(capsys, prefix, "--head_layout", "dex", "--input_size", "16,8", code=1)
    assert said.startswith(f"{prefix}-0000.params: ")
    assert "(101, 192)" in said and "(101, 384)" in said


def test_a_net_with_a_batch_size_built_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mx = old_nets.load_mxnet()
    mixed = mx.sym.Flatten(mx.sym.Variable("data"))
    mixed = mx.sym.broadcast_sub(mixed, mx.sym.mean(mixed, axis=0, keepdims=True))
    symbol = mx.sym.FullyConnected(mixed, num_hidden=2, name="fc1")
    params = {"fc1_weight": np.ones((2, 192), np.float32), "fc1_bias": np.zeros(2, np.float32)}
    prefix = old_nets.save(tmp_path / "model", symbol, params)
    said = refused(capsys, prefix, "--head_layout", "dex", "--input_size", 8, code=1)
    assert said == (
        f"{prefix}-0000.params on 8x8 pictures: output fc1_output of a face changes with the other faces of its batch"
    )


def test_heads_without_parameters_are_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recognition net's classes, stripped from the file to save room."""
    mx = old_nets.load_mxnet()
    flat = mx.sym.Flatten(mx.sym.Variable("data"))
    both = [mx.sym.FullyConnected(flat, num_hidden=n, name=name) for name, n in (("fc7", 5000), ("age", 101))]
    params = {"age_weight": np.zeros((101, 192), np.float32), "age_bias": np.zeros(101, np.float32)}
    prefix = old_nets.save(tmp_path / "model", mx.sym.Group(both), params)
    flags = ("--head_layout", "dex", "--input_size", 8, "--output", tmp_path / "copy")
    said = refused(capsys, prefix, *flags, code=1)
    assert "lacks 2 parameters of the graph: fc7_weight, fc7_bias" in said
    assert run(prefix, *flags, "--outputs", "age=age") == 0
    assert load_checkpoint(tmp_path / "copy").graph.outputs() == ["age_output"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scale", "1/0"], "'1/0' is not a number, nor one like 1/128"),
        (["--mean", "1,2"], "'1,2' has 2 numbers, not 1 or 3"),
        (["--input_size", "8x8"], "'8x8' is neither a side in pixels nor HEIGHT,WIDTH"),
        (["--outputs", "age"], "'age' is not NAME=VALUE,NAME=VALUE"),
        (["--constant", "a"], "'a' is not NAME=VALUE,VALUE"),
        (["--head_layout", "vgg"], "invalid choice: 'vgg'"),
    ],
)
def test_flags_that_make_no_sense(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        tool.main(["model", "--head_layout", "dex", *flags])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_choices_are_those_of_the_reader() -> None:
    assert (set(tool.LAYOUTS), tool.LABEL_ORDERS) == (set(LAYOUTS), LABEL_ORDERS)


def documented() -> list[str]:
    """The commands of the documentation and of --help, on one line each."""
    text = (ROOT / "docs" / "old-models.md").read_text(encoding="utf-8") + tool.EXAMPLES
    commands = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [line for line in commands if line.startswith("python tools/convert.py")]


def test_documented_commands_are_understood() -> None:
    found = [tool._parser().parse_args(shlex.split(command)[2:]) for command in documented()]
    assert {args.head_layout for args in found} == set(LAYOUTS)
    assert len(found) == 10
    [ssr, *_] = [args for args in found if args.constant]
    assert ssr.constant == [{f"stage_num{i}": [0, 1, 2] for i in range(3)}]


def test_the_documented_description_is_one() -> None:
    text = (ROOT / "docs" / "old-models.md").read_text(encoding="utf-8")
    document = json.loads("{" + text.partition("```json")[2].partition("```")[0] + "}")
    spec = InputSpec.from_info(document["input"])
    assert spec.to_info() == document["input"]
    assert Readout.from_json(document["readout"]).to_json() == document["readout"]


def test_help_is_light() -> None:
    heavy = ("mxnet", "torch", "onnxruntime", "cv2", "matplotlib", "numpy")
    code = (
        "import sys; sys.argv = ['convert.py', '--help']\n"
        "try:\n    import runpy; runpy.run_path('tools/convert.py', run_name='__main__')\n"
        f"finally:\n    print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "--head_layout ordinal --template arcface" in done.stdout
