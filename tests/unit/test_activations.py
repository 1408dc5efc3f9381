"""Activations against autograd in float64, and their conventions at 0."""

from __future__ import annotations

import pytest
import torch

from credit.errors import ConfigError
from credit.nets import activations
from credit.nets.names import ACTIVATIONS

REFERENCE = {
    "elu": torch.nn.functional.elu,
    "leakyrelu": lambda a: torch.nn.functional.leaky_relu(a, 0.2),
    "leakyrelu_0.1": lambda a: torch.nn.functional.leaky_relu(a, 0.1),
    "leakyrelu_0.01": lambda a: torch.nn.functional.leaky_relu(a, 0.01),
    "linear": lambda a: a * 1,
    "relu": torch.relu,
    "relu_closed": torch.relu,
    "scaled_tanh": lambda a: 1.7159 * torch.tanh(0.6666 * a),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def points():
    extremes = torch.tensor([-700.0, -30.0, -1e-300, 1e-300, 30.0, 700.0], dtype=torch.float64)
    spread = torch.linspace(-4, 4, 36, dtype=torch.float64)  # an even number: 0 is no point
    return torch.cat([spread, extremes]).reshape(2, 3, 7)


@pytest.mark.parametrize("name", REFERENCE)
def test_value_derivative_and_backward_agree_with_autograd(name):
    phi, a = activations.get(name), points().requires_grad_()
    expected = REFERENCE[name](a)
    (slope,) = torch.autograd.grad(expected.sum(), a)
    a, expected = a.detach(), expected.detach()
    value = phi.value(a)
    torch.testing.assert_close(value, expected, rtol=0, atol=0)
    torch.testing.assert_close(phi.derivative(a, value), slope, rtol=1e-14, atol=1e-15)
    grad = torch.randn(a.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(phi.backward(grad, a, value), grad * slope, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", REFERENCE)
def test_arguments_stay_as_they_were(name):
    phi, a = activations.get(name), points()
    value, grad = phi.value(a), torch.ones_like(a)
    before = a.clone(), value.clone(), grad.clone()
    phi.derivative(a, value)
    phi.backward(grad, a, value)
    assert all(torch.equal(now, then) for now, then in zip((a, value, grad), before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", 0.0),
        ("relu_closed", 1.0),
        ("leakyrelu", 0.2),
        ("leakyrelu_0.1", 0.1),
        ("elu", 1.0),
        ("linear", 1.0),
    ],
)
def test_the_derivative_at_zero_follows_the_stated_convention(name, expected, dtype):
    phi, zero = activations.get(name), torch.tensor([0.0, -0.0], dtype=dtype)
    slope = phi.derivative(zero, phi.value(zero))
    assert torch.equal(slope, torch.full_like(zero, expected))
    assert torch.equal(phi.backward(torch.ones_like(zero), zero, phi.value(zero)), slope)


def test_softmax_follows_autograd_and_has_no_derivative_of_single_elements():
    phi, a = activations.get("softmax"), points().requires_grad_()
    grad = torch.randn(a.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(torch.softmax(a, -1), a, grad)
    a = a.detach()
    torch.testing.assert_close(phi.backward(grad, a, phi.value(a)), expected, rtol=1e-14, atol=1e-15)
    with pytest.raises(ValueError, match="no derivative element by element"):
        phi.derivative(a, phi.value(a))


def test_every_name_that_a_configuration_may_use_exists_and_no_other():
    assert set(ACTIVATIONS) == {*REFERENCE, "softmax", "step"}
    with pytest.raises(ConfigError, match=r"'tanhh' \(did you mean 'tanh'\?\)"):
        activations.get("tanhh")


def test_the_step_has_the_surrogate_derivative_of_the_pepita_code():
    phi, a = activations.get("step"), torch.tensor([-2.0, -0.0, 0.5], dtype=torch.float64)
    assert phi.value(a).tolist() == [0.0, 0.0, 1.0]
    torch.testing.assert_close(phi.derivative(a, phi.value(a)), 1 - torch.tanh(a) ** 2)
