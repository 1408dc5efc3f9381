"""Initialisation schemes: their distributions against the formulas, orthogonality, options, errors."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from credit.errors import ConfigError
from credit.nets.init import fans, init
from credit.nets.names import SCHEMES, layer_options, options
from credit.numerics.rand import Rand

DENSE, CONV = (80, 120), (40, 20, 3, 3)
STD = {
    "xavier_normal": lambda i, o: math.sqrt(2 / (i + o)),
    "teacher": lambda i, o: 3 * math.sqrt(2 / (i + o)),
    "he_normal": lambda i, o: math.sqrt(2 / i),
    "lecun_normal": lambda i, o: math.sqrt(1 / i),
}
HALF_WIDTH = {
    "xavier_uniform": lambda i, o: math.sqrt(6 / (i + o)),
    "he_uniform": lambda i, o: math.sqrt(6 / i),
    "nok": lambda i, o: 1 / math.sqrt(i),
    "torch_default": lambda i, o: 1 / math.sqrt(i),
}


def complete(name, shape=(5, 7)):
    """The scheme with a value for options that have no default."""
    rows = [[0.5] * shape[1]] * shape[0]
    given = {key: rows if key == "values" else 0.5 for key, default in SCHEMES[name].items() if default is None}
    return {"name": name, **given}


def test_fans_of_dense_and_convolutional_weights():
    assert fans((3, 5)) == (5, 3)
    assert fans((3, 5, 2, 2)) == (20, 12)


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize("name", STD)
def test_gaussian_schemes_have_their_standard_deviation(name, shape):
    weight = init(name, shape, Rand(0, dtype=torch.float64), "w")
    assert weight.shape == shape
    assert float(weight.std()) == pytest.approx(STD[name](*fans(shape)), rel=0.03)
    assert (weight.abs() > 2 * weight.std()).any()


@pytest.mark.parametrize("shape", [DENSE, CONV])
@pytest.mark.parametrize("name", HALF_WIDTH)
def test_uniform_schemes_fill_their_interval(name, shape):
    weight, bound = init(name, shape, Rand(0), "w"), HALF_WIDTH[name](*fans(shape))
    assert float(weight.abs().max()) <= bound * (1 + 1e-6)
    assert float(weight.max()) == pytest.approx(bound, rel=0.01)
    assert float(weight.min()) == pytest.approx(-bound, rel=0.01)


@pytest.mark.parametrize("shape", [DENSE, CONV])
def test_the_positive_scheme_fills_its_interval(shape):
    weight, bound = init("positive_uniform", shape, Rand(0), "w"), 1 / math.sqrt(fans(shape)[0])
    assert 0 <= float(weight.min()) < 0.01 * bound
    assert float(weight.max()) == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (4, 2, 3, 3)])
@pytest.mark.parametrize("name", ["orthogonal", "orthogonal_fan"])
def test_orthogonal_schemes_have_orthogonal_rows_or_columns(name, shape):
    stack = init(name, shape, Rand([0, 1], dtype=torch.float64), "w").flatten(2)
    i, o = fans(shape)
    square = 6 / (i + o) if name == "orthogonal_fan" else 1.0
    small = stack @ stack.mT if stack.shape[1] <= stack.shape[2] else stack.mT @ stack
    torch.testing.assert_close(small, square * torch.eye(small.shape[-1]).double().expand_as(small))


def test_orthogonal_starts_do_not_depend_on_the_number_of_threads():
    drawn = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        drawn.append(init("orthogonal", (200, 150), Rand([3, 4]), "w"))
        assert torch.get_num_threads() == threads
    assert torch.equal(*drawn)


def test_orthogonal_matrices_are_not_biased_towards_one_sign():
    first = init("orthogonal", (2, 2), Rand(list(range(400))), "w")[:, 0, 0]
    assert abs(float(first.sign().mean())) < 0.15


@pytest.mark.parametrize("name", SCHEMES)
def test_a_member_is_initialised_as_it_would_be_alone(name):
    stack = init(complete(name), (5, 7), Rand([3, 4, 5]), "w")
    assert stack.shape == (3, 5, 7)
    assert torch.equal(stack[1], init(complete(name), (5, 7), Rand(4), "w"))


@pytest.mark.parametrize("name", SCHEMES)
def test_biases_are_zero_unless_the_scheme_draws_them(name):
    bias = init(complete(name), (50,), Rand([0, 1]), "b", fan_from=(50, 16))
    assert bias.shape == (2, 50)
    if name == "torch_default":
        assert 0.2 < float(bias.abs().max()) <= 0.25
    else:
        assert not bias.any()


def test_torch_default_needs_the_weight_of_a_bias():
    with pytest.raises(ValueError, match="fan-in"):
        init("torch_default", (5,), Rand(0), "b")


def test_options_and_the_gain_argument_scale_the_draw():
    plain = init("xavier_normal", (5, 7), Rand(0), "w")
    torch.testing.assert_close(init({"name": "xavier_normal", "gain": 5 / 3}, (5, 7), Rand(0), "w"), plain * 5 / 3)
    torch.testing.assert_close(init("xavier_normal", (5, 7), Rand(0), "w", gain=2.0), plain * 2)
    narrow = init({"name": "uniform", "scale": 0.01}, (50, 70), Rand(0), "w")
    assert 0.0099 < float(narrow.abs().max()) <= 0.01
    assert float(init({"name": "normal", "std": 0.1}, DENSE, Rand(0), "w").std()) == pytest.approx(0.1, rel=0.05)
    folded = init({"name": "folded_normal", "mean": 0.1, "std": 0.5}, DENSE, Rand(0), "w")
    assert torch.equal(folded, (init({"name": "normal", "std": 0.5}, DENSE, Rand(0), "w") + 0.1).abs())
    assert torch.equal(init("ones", (2, 3), Rand(0), "w"), torch.ones(2, 3))
    assert torch.equal(init("zeros", (2, 3), Rand(0), "w"), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("xavier_normale", r"init = 'xavier_normale' \(did you mean 'xavier_normal'\?\)"),
        ({"gain": 2.0}, "init.name is missing; must be one of: folded_normal, given"),
        ("uniform", "init.scale is missing"),
        ({"name": "uniform", "scale": -1}, "init.scale = -1; must be a finite number >= 0"),
        ({"name": "uniform", "scale": True}, "init.scale = True"),
        ({"name": "normal", "std": float("nan")}, "init.std = nan"),
        ({"name": "zeros", "gain": 1.0}, "has the options: bias"),
        ({"name": "teacher", "std": 1.0}, "has the options: bias"),
    ],
)
def test_a_wrong_scheme_is_refused_with_what_is_allowed(scheme, message):
    with pytest.raises(ConfigError, match=message):
        init(scheme, (2, 3), Rand(0), "w")


def test_names_and_their_check_load_no_torch():
    code = (
        "import sys; from credit.nets.names import options; from credit.optim.config import check;"
        "options('zeros'); check({'name': 'sgd', 'lr': 1}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_options_are_returned_with_defaults():
    assert options("he_uniform") == ("he_uniform", {"gain": 1.0})
    assert options({"name": "uniform", "scale": 1}) == ("uniform", {"scale": 1})
    assert layer_options("zeros") == ("zeros", {"bias": 0.0})
