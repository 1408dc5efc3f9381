"""Losses against torch.nn.functional and autograd in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from credit.errors import ConfigError
from credit.nets import losses
from credit.nets.names import LOSSES

M, B, N = 3, 5, 4
SQUARED = {
    "mse": lambda r, y, w: (w * (r - y) ** 2).mean(),
    "half_squared_error": lambda r, y, w: 0.5 * (w * (r - y) ** 2).sum(-1).mean(),
    "squared_error_sum": lambda r, y, w: 0.5 * (w * (r - y) ** 2).sum(),
}


def data(name, seed=0):
    g = torch.Generator().manual_seed(seed)
    output = 3 * torch.randn(M, B, N, generator=g, dtype=torch.float64)
    values = torch.randn(M, B, N, generator=g, dtype=torch.float64)
    classes = torch.randint(N, (M, B), generator=g)
    weights = torch.rand(M, B, N, generator=g, dtype=torch.float64)
    return output, classes if name == "softmax_cross_entropy" else values, weights


def reference(name, r, y, w):
    """Loss of one member, written down independently."""
    if name != "softmax_cross_entropy":
        return SQUARED[name](r, y, w)
    picked = w.gather(-1, y[:, None]).squeeze(-1)
    return (picked * F.cross_entropy(r, y, reduction="none")).mean()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_agree_with_autograd_for_every_member(name, weighted):
    loss, (output, target, weights) = losses.get(name), data(name)
    given = weights if weighted else None
    leaf = output.clone().requires_grad_()
    used = weights if weighted else torch.ones_like(weights)
    expected = torch.stack([reference(name, r, y, w) for r, y, w in zip(leaf, target, used, strict=True)])
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    before = output.clone()
    value, gradient = loss.value_and_gradient(output, target, given)
    torch.testing.assert_close(value, expected.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-12, atol=1e-16)
    torch.testing.assert_close(loss.value(output, target, given), value, rtol=1e-14, atol=0)
    torch.testing.assert_close(loss.gradient(output, target, given), gradient, rtol=1e-13, atol=1e-16)
    assert torch.equal(output, before)


@pytest.mark.parametrize("name", LOSSES)
def test_one_network_without_the_stack_axis_gives_its_members_numbers(name):
    loss, (output, target, weights) = losses.get(name), data(name)
    values, gradients = loss.value_and_gradient(output, target, weights)
    value, gradient = loss.value_and_gradient(output[1], target[1], weights[1])
    assert value.shape == ()
    torch.testing.assert_close(value, values[1], rtol=1e-14, atol=0)
    torch.testing.assert_close(gradient, gradients[1], rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_a_target_without_the_stack_axis_is_shared(name):
    loss, (output, target, _) = losses.get(name), data(name)
    shared = loss.value_and_gradient(output, target[0])
    repeated = loss.value_and_gradient(output, target[:1].expand(M, *target.shape[1:]))
    assert all(torch.equal(a, b) for a, b in zip(shared, repeated, strict=True))


@pytest.mark.parametrize("name", SQUARED)
def test_squared_errors_compare_classes_with_one_hot_vectors(name):
    loss, classes = losses.get(name), data("softmax_cross_entropy")[1]
    output = data(name)[0]
    one_hot = F.one_hot(classes, N).double()
    assert torch.equal(loss.targets(classes, N, torch.float64), one_hot)
    assert torch.equal(loss.value(output, classes), loss.value(output, one_hot))
    assert torch.equal(loss.gradient(output, classes), loss.gradient(output, one_hot))


def test_known_gradients_of_the_conventions():
    r, y = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    assert torch.equal(losses.get("mse").gradient(r, y), 2 * r / 4)
    assert torch.equal(losses.get("half_squared_error").gradient(r, y), r / 2)
    assert torch.equal(losses.get("squared_error_sum").gradient(r, y), r)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_the_compiled_cross_entropy_is_that_of_torch_operations(dtype, layout, monkeypatch):
    loss, (output, classes, _) = losses.get("softmax_cross_entropy"), data("softmax_cross_entropy")
    output = output.to(dtype) if layout == "rows" else output.to(dtype).mT.contiguous().mT
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    found = loss.value_and_gradient(output, classes[0])
    alone = loss.value_and_gradient(output[1], classes[0])
    monkeypatch.setattr(losses, "SMALL", 0)
    for a, one, b in zip(found, alone, loss.value_and_gradient(output, classes[0]), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        assert a.dtype == dtype and torch.equal(a[1], one)


@pytest.mark.parametrize("small", [0, 4096])
def test_members_that_diverge_are_not_numbers_and_leave_the_others_alone(small, monkeypatch):
    monkeypatch.setattr(losses, "SMALL", small)
    loss, (output, classes, _) = losses.get("softmax_cross_entropy"), data("softmax_cross_entropy")
    expected = loss.value_and_gradient(output, classes)
    for bad in (float("nan"), float("inf")):
        broken = output.clone()
        broken[0, 2, 1] = bad
        value, gradient = loss.value_and_gradient(broken, classes)
        assert value[0].isnan() and gradient[0, 2].isnan().all()
        assert torch.equal(value[1:], expected[0][1:]) and torch.equal(gradient[1:], expected[1][1:])


@pytest.mark.parametrize("wrong", [-1, N])
def test_classes_that_do_not_exist_are_refused(wrong):
    output, classes, _ = data("softmax_cross_entropy")
    classes[1, 2] = wrong
    with pytest.raises(ValueError, match="out of bounds; must be 0 to 3"):
        losses.get("softmax_cross_entropy").value_and_gradient(output, classes)


def test_cross_entropy_can_be_differentiated_and_mapped():
    loss, (output, classes, _) = losses.get("softmax_cross_entropy"), data("softmax_cross_entropy")
    _, gradient = loss.value_and_gradient(output, classes)
    leaf = output.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss.value(leaf, classes).sum(), leaf)
    torch.testing.assert_close(slope, gradient, rtol=1e-12, atol=1e-16)
    mapped = torch.func.vmap(loss.gradient)(output, classes)
    torch.testing.assert_close(mapped, gradient, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("small", [0, 4096])
def test_targets_of_another_shape_are_refused_alike(small, monkeypatch):
    monkeypatch.setattr(losses, "SMALL", small)
    loss, (output, classes, _) = losses.get("softmax_cross_entropy"), data("softmax_cross_entropy")
    for target in (classes[:, :-1], classes[0, :-1]):
        with pytest.raises((ValueError, RuntimeError)):
            loss.value_and_gradient(output, target)
    with pytest.raises((ValueError, RuntimeError)):
        loss.value_and_gradient(output[0], classes[:1])


def test_cross_entropy_stays_finite_for_huge_logits():
    loss, output = losses.get("softmax_cross_entropy"), torch.tensor([[1e4, -1e4, 0.0]])
    value, gradient = loss.value_and_gradient(output, torch.tensor([1]))
    assert float(value) == 2e4
    assert torch.equal(gradient, torch.tensor([[1.0, -1.0, 0.0]]))
    assert torch.equal(loss.gradient(output, torch.tensor([1])), gradient)


def test_errors_are_counted_for_classes_only():
    output = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    for name in LOSSES:
        assert losses.get(name).error_count(output, torch.tensor([1, 1, 1])).tolist() == [1, 0]
    assert losses.get("mse").error_count(output, torch.zeros(3, 2)) is None


def test_ties_and_rows_of_nan_may_count_as_errors():
    nan = float("nan")
    output = torch.tensor(
        [[1.0, 1.0, 0.0], [nan, 2.0, 0.0], [0.0, nan, 1.0], [0.0, 3.0, 3.5], [float("inf"), 0.0, 0.0]]
    )
    first = torch.tensor([0, 0, 1, 2, 0])  # what argmax says
    for name in LOSSES:
        assert losses.get(name).error_count(output, first) == 0
        assert losses.get(name).error_count(output, first, ties_wrong=True) == 3
        assert losses.get(name).error_count(output, 0 * first + 2, ties_wrong=True) == 4
        stack = torch.stack([output, torch.eye(3)[first]])
        assert losses.get(name).error_count(stack, first, ties_wrong=True).tolist() == [3, 0]


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("ties_wrong", [False, True])
def test_the_class_may_be_among_the_largest_outputs(k, ties_wrong):
    nan = float("nan")
    rows = [[3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 2.0, 2.0, 3.0], [nan, 0.0, 1.0, 2.0]]
    output, loss, wrong = torch.tensor([rows, rows[::-1]]), losses.get("softmax_cross_entropy"), [0, 0]
    target = torch.tensor([2, 1, 1, 3])
    for member in range(2):
        for row, y in zip(output[member].tolist(), target.tolist(), strict=True):
            first = sum(r > row[y] or (r == row[y] and (ties_wrong or j < y)) for j, r in enumerate(row) if j != y)
            wrong[member] += first >= k or any(r != r for r in row)
    assert loss.top_error_count(output, target, k, ties_wrong).tolist() == wrong
    if k == 1:
        sound = output[0, :3]
        pair = (f(sound, target[:3]) for f in (partial(loss.top_error_count, k=1), loss.error_count))
        assert len({int(n) for n in pair}) == 1
    assert losses.get("mse").top_error_count(output, torch.zeros(2, 4, 4), k) is None


def test_targets_that_do_not_fit_are_refused():
    output = torch.zeros(2, B, N)
    with pytest.raises(ValueError, match="takes classes as int64"):
        losses.get("softmax_cross_entropy").value(output, torch.zeros(2, B, N))
    with pytest.raises(ValueError, match=r"target has shape \(5, 1\)"):
        losses.get("mse").value(output, torch.zeros(B, 1))


def test_every_name_that_a_configuration_may_use_exists_and_no_other():
    assert losses._BY_NAME.keys() == LOSSES.keys()
    with pytest.raises(ConfigError, match=r"loss = 'cross_entropy' \(did you mean 'softmax_cross_entropy'\?\)"):
        losses.get("cross_entropy")
