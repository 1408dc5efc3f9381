"""Nets and streams that cannot be are refused by the name of their argument."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import credit
from credit.errors import ConfigError


def conv(**changes):
    return credit.conv(
        **{"shape_in": (1, 8, 8), "channels": [2], "hidden_sizes": [3], "n_out": 2, "kernel": 3, **changes}
    )


def resnet(**changes):
    return credit.resnet(**{"shape_in": (1, 8, 8), "channels": [2], "blocks": [1], "n_out": 2, **changes})


REFUSED = [
    (credit.dense, {"sizes": [4, 2.5, 3]}, r"sizes = \[4, 2\.5, 3\]; must be a list of layer sizes, input first, >= 1"),
    (credit.dense, {"sizes": "453"}, r"sizes = '453'; must be a list"),
    (credit.dense, {"sizes": None}, r"sizes = None; must be a list"),
    (credit.dense, {"sizes": [4]}, r"sizes = \[4\]; must be a list of layer sizes, .* at least 2"),
    (credit.dense, {"sizes": [4, 0, 2]}, r"sizes = \[4, 0, 2\]"),
    (credit.dense, {"sizes": [4, True, 2]}, r"sizes = \[4, True, 2\]"),
    (credit.dense, {"sizes": [4, 3, 2], "bias": "no"}, r"bias = 'no'; must be true, false, or one value for each of 2"),
    (credit.dense, {"sizes": [4, 3, 2], "bias": [1, 0]}, r"bias = \[1, 0\]"),
    (
        credit.dense,
        {"sizes": [4, 3, 2], "hidden": 3},
        r"hidden = 3; must be one name, or one value for each of 1",
    ),
    (credit.dense, {"sizes": [4, 3, 2], "hidden": ["tanh", "relu"]}, r"hidden = \['tanh', 'relu'\]; must be one name"),
    (credit.dense, {"sizes": [4, 3, 2], "keep": "x"}, r"net\.keep = 'x'; must be a number in \(0, 1\]"),
    (conv, {"kernel": 0}, r"kernel = 0; must be an integer >= 1"),
    (conv, {"kernel": [3, 0]}, r"kernel = 0; must be an integer >= 1"),
    (conv, {"kernel": []}, r"kernel = \[\]; must be one integer > 0 or \(size, stride, padding\)"),
    (conv, {"kernel": "3"}, r"kernel = '3'; must be an integer >= 1"),
    (conv, {"pool": 0}, r"pool = 0; must be an integer >= 1"),
    (conv, {"n_out": 0}, r"n_out = 0; must be an integer >= 1"),
    (conv, {"n_out": 2.5}, r"n_out = 2\.5"),
    (conv, {"channels": "2"}, r"channels = '2'; must be a list of integers >= 1"),
    (conv, {"hidden_sizes": [3.5]}, r"hidden_sizes = \[3\.5\]"),
    (conv, {"shape_in": (8, 8)}, r"shape_in = \(8, 8\); must be \(channels, height, width\)"),
    (conv, {"bias": "no"}, r"bias = 'no'"),
    (resnet, {"channels": [0]}, r"channels = \[0\]; must be a list of integers >= 1"),
    (resnet, {"n_out": None}, r"n_out = None"),
    (resnet, {"bias": 1}, r"bias = 1"),
    (credit.Rand, {"seeds": None}, r"seeds = None; must be an int, or one int per member of the stack"),
    (credit.Rand, {"seeds": "12"}, r"seeds = '12'"),
    (credit.Rand, {"seeds": 1.5}, r"seeds = 1\.5"),
    (credit.Rand, {"seeds": [1, None]}, r"seeds = \[1, None\]"),
    (credit.Rand, {"seeds": []}, r"seeds = \[\]"),
]


@pytest.mark.parametrize(("function", "arguments", "said"), REFUSED)
def test_absurd_arguments_are_refused_by_name(function, arguments, said):
    with pytest.raises(ConfigError, match=said):
        function(**arguments)


def test_whole_numbers_of_every_kind_are_sizes():
    made = [credit.dense(sizes) for sizes in ([4, 3, 2], (4.0, 3, 2), np.array([4, 3, 2]), range(4, 1, -1))]
    assert all(net == made[0] for net in made)
    assert credit.Rand(np.arange(3)).seeds == [0, 1, 2]
    assert not credit.Rand(np.int64(3)).stacked


@pytest.mark.parametrize(
    "make",
    [lambda name: credit.dense([5, 3], hidden=name), lambda name: credit.conv([1, 6, 6], [], [], 3, hidden=name)],
)
def test_a_name_that_no_layer_has_is_checked_too(make):
    with pytest.raises(ConfigError, match=r"hidden = 'tanhh' \(did you mean 'tanh'\?\)"):
        make("tanhh")
    with pytest.raises(ConfigError, match=r"^output = 'tanhh' \(did you mean 'tanh'\?\)"):
        credit.dense([5, 3], output="tanhh")


@pytest.mark.parametrize("pool", [(2, 2, 2), (3, 1, 2), [1, 1, 1]])
def test_pooling_windows_that_hold_nothing_of_the_image_are_refused(pool):
    with pytest.raises(ConfigError, match=rf"^pool = {re.escape(repr(pool))}; must be .* at most half the size$"):
        credit.conv([1, 8, 8], [2], [], 3, kernel=3, pool=pool)
    fits = credit.conv([1, 8, 8], [2], [], 3, kernel=3, pool=(3, 2, 1))
    assert fits.predict(fits.init(0), torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_a_convolution_that_does_not_fit_names_the_image():
    with pytest.raises(
        ValueError, match=r"^conv block 0 \(kernel 9, pool 2\) does not fit images of shape \(1, 8, 8\)$"
    ):
        credit.conv([1, 8, 8], [2], [], 3, kernel=9)
    with pytest.raises(ValueError, match=r"conv block 1 .* of shape \(1, 8, 8\), \(2, 3, 3\) before that block$"):
        credit.conv([1, 8, 8], [2, 2], [], 3, kernel=3, pool=2)
