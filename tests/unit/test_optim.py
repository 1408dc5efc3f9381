"""Optimisers against torch.optim and torch.nn.utils, stacks against single runs, checkpoints, errors."""

from __future__ import annotations

import copy

import pytest
import torch

from credit.errors import CheckpointError, ConfigError
from credit.optim import optimizer

STEPS = 25
SHAPES = {"0": {"weight": (4, 3), "bias": (4,)}, "1": {"weight": (2, 4), "bias": (2,)}}
CASES = {
    "sgd": ({"name": "sgd", "lr": 0.1}, lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    ),
    "nesterov": (
        {"name": "sgd", "lr": 0.1, "momentum": 0.8, "nesterov": True},
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8, nesterov=True),
    ),
    "adam": (
        {"name": "adam", "lr": 0.01, "betas": [0.9, 0.99], "eps": 1e-3},
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.99), eps=1e-3),
    ),
    "adam with L2": (
        {"name": "adam", "lr": 0.01, "weight_decay": 0.1},
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    ),
    "adamw": (
        {"name": "adam", "lr": 0.01, "weight_decay": 0.1, "decoupled": True},
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
    "rmsprop": (
        {"name": "rmsprop", "lr": 0.01, "alpha": 0.95, "eps": 0.03, "centered": True},
        lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.95, eps=0.03, centered=True),
    ),
    "rmsprop with momentum": (
        {"name": "rmsprop", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    ),
}


def tensors(members=None, seed=0, dtype=torch.float64):
    """Random values in the shape of the parameters, of a stack or (None) of one network."""
    g = torch.Generator().manual_seed(seed)
    lead = () if members is None else (members,)
    return {
        layer: {n: torch.randn(*lead, *s, generator=g, dtype=dtype) for n, s in block.items()}
        for layer, block in SHAPES.items()
    }


def flat(params):
    return [t for block in params.values() for t in block.values()]


def mapped(params, f):
    return {layer: {n: f(t) for n, t in block.items()} for layer, block in params.items()}


def strided(params):
    """The same values in tensors that are not contiguous, which the compiled loops cannot take."""
    return mapped(params, lambda t: torch.stack([t, t], -1)[..., 0])


def run(config, params, gradients, **kwargs):
    opt = optimizer(**config).init(params)
    for g in gradients:
        opt.step(params, g, **kwargs)
    return params


def assert_same(actual, expected, tolerance=1e-14):
    for a, e in zip(flat(actual), flat(expected), strict=True):
        torch.testing.assert_close(a, e, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("case", CASES)
def test_steps_equal_those_of_torch_optim(case, members, layout):
    config, reference = CASES[case]
    params, gradients = tensors(members), [tensors(members, 100 + i) for i in range(STEPS)]
    leaves = [t.clone().requires_grad_() for t in flat(params)]
    torch_opt = reference(leaves)
    for gradient in gradients:
        for leaf, g in zip(leaves, flat(gradient), strict=True):
            leaf.grad = g.clone()
        torch_opt.step()
    actual = run(config, strided(params) if layout == "strided" else params, gradients)
    for a, e in zip(flat(actual), leaves, strict=True):
        torch.testing.assert_close(a, e.detach(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rate_may_be_scaled_and_scheduled_from_step_to_step(momentum):
    params = tensors()
    opt = optimizer("sgd", lr=0.1, momentum=momentum, schedule={"milestones": [1], "factor": 0.5}).init(params)
    expected, velocity = mapped(params, torch.clone), mapped(params, torch.zeros_like)
    for i, (epoch, scale) in enumerate([(0, 1.0), (0, 0.5), (0, 1.0), (1, 1.0), (1, 3.0), (0, 3.0), (0, 1.0)]):
        gradient = tensors(seed=100 + i)
        if epoch != opt.epoch:
            opt.set_epoch(epoch)
        opt.step(params, gradient, lr_scale=scale)
        for e, v, g in zip(flat(expected), flat(velocity), flat(gradient), strict=True):
            e -= 0.1 * (0.5 if epoch else 1.0) * scale * v.mul_(momentum).add_(g)
        assert_same(params, expected)
    fresh = tensors(seed=7)
    opt.hyper["lr"] = 1.0
    opt.init(fresh).step(fresh, mapped(fresh, torch.ones_like))
    assert_same(fresh, mapped(tensors(seed=7), lambda t: t - 1))


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_parameters_without_gradient_keep_value_and_step_count_as_in_torch(layout):
    params, gradients = tensors(), [tensors(seed=100 + i) for i in range(6)]
    leaves = [t.clone().requires_grad_() for t in flat(params)]
    reference = torch.optim.Adam(leaves, lr=0.1)
    params = strided(params) if layout == "strided" else params
    opt = optimizer("adam", lr=0.1).init(params)
    for i, gradient in enumerate(gradients):
        if i % 2 == 0:
            del gradient["0"]["weight"]
        if i < 3:
            del gradient["1"]
        opt.step(params, gradient)
        for leaf, (layer, name) in zip(leaves, opt._names, strict=True):
            leaf.grad = gradient.get(layer, {}).get(name)
        reference.step()
    for a, e in zip(flat(params), leaves, strict=True):
        torch.testing.assert_close(a, e.detach(), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "config",
    [
        {"name": "sgd", "lr": [0.1, 0.2, 0.01]},
        {"name": "sgd", "lr": [0.1, 0.2, 0.01], "momentum": [0.9, 0.0, 0.5], "dampening": 0.1},
        {"name": "adam", "lr": [0.1, 0.2, 0.01], "betas": [[0.9, 0.8, 0.7], 0.99], "eps": [1e-8, 1e-3, 1.0]},
        {
            "name": "adam",
            "lr": 0.1,
            "weight_decay": [0.0, 0.1, 0.2],
            "clip_norm": [0.5, 1.0, 2.0],
            "clip": "global",
        },
        {"name": "rmsprop", "lr": [0.1, 0.2, 0.01], "momentum": [0.9, 0.0, 0.5], "centered": True},
    ],
)
def test_a_stack_steps_bit_for_bit_like_its_members_alone(config, dtype):
    def pick(value, m):
        if isinstance(value, list) and len(value) == 3:
            return value[m]
        return [pick(v, m) for v in value] if isinstance(value, list) else value

    gradients = [tensors(3, 100 + i, dtype) for i in range(STEPS)]
    stack = run(config, tensors(3, dtype=dtype), gradients)
    for m in range(3):
        single = {key: pick(value, m) for key, value in config.items()}
        alone = mapped(tensors(3, dtype=dtype), lambda t: t[m].clone())  # noqa: B023
        run(single, alone, [mapped(g, lambda t: t[m].clone()) for g in gradients])  # noqa: B023
        assert all(torch.equal(a[m], b) for a, b in zip(flat(stack), flat(alone), strict=True))


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_layers_may_have_their_own_rates(layout):
    gradients = [tensors(2, 100 + i) for i in range(STEPS)]
    config = {"name": "adam", "lr": {"0": 0.1, "1": [0.01, 0.02]}, "eps": {"0": 1e-3, "1": 1e-8}}
    start = strided(tensors(2)) if layout == "strided" else tensors(2)
    both = run(config, start, gradients)
    for layer, lr, eps in (("0", 0.1, 1e-3), ("1", [0.01, 0.02], 1e-8)):
        own = {layer: tensors(2)[layer]}
        run({"name": "adam", "lr": lr, "eps": eps}, own, [{layer: g[layer]} for g in gradients])
        assert_same(own, {layer: both[layer]})


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("clip", ["per_tensor", "per_layer", "global"])
def test_clipping_equals_clip_grad_norm(clip, layout):
    params, gradient = tensors(2), tensors(2, 100)
    gradient["1"]["bias"] *= 1e-3  # stays below the limit where it has a norm of its own
    expected = {layer: {} for layer in SHAPES}
    for m in range(2):
        leaves = {(a, b): t[m].clone().requires_grad_() for a, block in params.items() for b, t in block.items()}
        for (a, b), leaf in leaves.items():
            leaf.grad = gradient[a][b][m].clone()
        key = {"per_tensor": lambda n: n, "per_layer": lambda n: n[0], "global": lambda n: 0}[clip]
        for group in {key(n) for n in leaves}:
            torch.nn.utils.clip_grad_norm_([t for n, t in leaves.items() if key(n) == group], 0.7)
        for (a, b), leaf in leaves.items():
            expected[a].setdefault(b, []).append((leaf - 0.1 * leaf.grad).detach())
    start = strided(params) if layout == "strided" else params
    actual = run({"name": "sgd", "lr": 0.1, "clip_norm": 0.7, "clip": clip}, start, [gradient])
    assert_same(actual, mapped(expected, torch.stack))


def test_decay_that_is_not_scaled_by_the_rate_subtracts_a_share_of_the_weight():
    params, gradient = tensors(), tensors(seed=100)
    expected = mapped(params, lambda t: t * (1 - 1e-3))
    for e, g in zip(flat(expected), flat(gradient), strict=True):
        e -= 0.1 * g
    assert_same(run({"name": "sgd", "lr": 0.1, "decay_unscaled": 1e-3}, params, [gradient]), expected)


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_a_velocity_that_contains_the_rate_keeps_old_rates_after_a_decay(layout):
    params, gradients = tensors(), [tensors(seed=100 + i) for i in range(4)]
    weight, velocity = flat(params)[0].clone(), torch.zeros(4, 3, dtype=torch.float64)
    params = strided(params) if layout == "strided" else params
    schedule = {"milestones": [2], "factor": 0.1}
    opt = optimizer("sgd", lr=0.1, momentum=0.9, lr_in_velocity=True, schedule=schedule).init(params)
    for epoch, g in enumerate(gradients):
        opt.set_epoch(epoch)
        opt.step(params, g)
        velocity = 0.9 * velocity + (0.1 if epoch < 2 else 0.01) * flat(g)[0]
        weight = weight - velocity
    torch.testing.assert_close(flat(params)[0], weight, rtol=1e-14, atol=1e-14)


def test_the_rate_scale_multiplies_the_rate():
    gradients = [tensors(seed=100 + i) for i in range(5)]
    scaled = run({"name": "adam", "lr": 0.1}, tensors(), gradients, lr_scale=0.25)
    assert_same(scaled, run({"name": "adam", "lr": 0.025}, tensors(), gradients))


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("case", ["momentum", "adam", "rmsprop with momentum"])
def test_a_saved_state_continues_bit_for_bit(case, layout, tmp_path):
    config, make = CASES[case][0], strided if layout == "strided" else (lambda p: p)
    gradients = [tensors(3, 100 + i) for i in range(20)]
    whole = run(config, make(tensors(3)), gradients)
    params = make(tensors(3))
    opt = optimizer(**config).init(params)
    for g in gradients[:9]:
        opt.step(params, g)
    opt.set_epoch(2)
    torch.save(opt.state_dict(), tmp_path / "opt.pt")
    resumed = optimizer(**config).init(params)
    resumed.load_state_dict(torch.load(tmp_path / "opt.pt", weights_only=True))
    assert resumed.epoch == 2
    for g in gradients[9:]:
        resumed.step(params, g)
    assert all(torch.equal(a, b) for a, b in zip(flat(params), flat(whole), strict=True))


def test_a_saved_state_is_a_copy_and_init_resets():
    params = tensors()
    opt = optimizer("sgd", lr=0.1, momentum=0.9).init(params)
    opt.step(params, tensors(seed=1))
    saved = opt.state_dict()
    velocity = saved["slots"]["v"]["0"]["weight"].clone()
    opt.step(params, tensors(seed=2))
    assert torch.equal(saved["slots"]["v"]["0"]["weight"], velocity)
    assert saved["steps"].tolist() == [1, 1, 1, 1]
    assert not opt.init(params).state_dict()["slots"]["v"]["0"]["weight"].any()


def test_a_state_of_other_parameters_is_refused():
    saved = optimizer("adam", lr=0.1).init(tensors(2)).state_dict()
    with pytest.raises(CheckpointError, match="other shapes"):
        optimizer("adam", lr=0.1).init(tensors(3)).load_state_dict(saved)
    with pytest.raises(CheckpointError, match="'square'"):
        optimizer("rmsprop", lr=0.1).init(tensors(2)).load_state_dict(saved)


@pytest.mark.parametrize("lr", [0.5, [0.5, 0.1]])
def test_milestones_equal_those_of_torch(lr):
    opt = optimizer("sgd", lr=lr, schedule={"milestones": [2, 5], "factor": 0.1})
    rates = [lr] if isinstance(lr, float) else lr
    for m, rate in enumerate(rates):
        reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(reference, [2, 5], 0.1)
        for epoch in range(8):
            ours = opt.lr_at(epoch) if isinstance(lr, float) else opt.lr_at(epoch)[m]
            assert ours == pytest.approx(scheduler.get_last_lr()[0], rel=1e-14)
            reference.step()
            scheduler.step()


def test_a_cosine_equals_that_of_torch_and_rises_again_after_its_end():
    opt = optimizer("sgd", lr={"0": 0.5, "1": 0.1}, schedule={"name": "cosine", "epochs": 6, "final": 0.01})
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(reference, 6, 0.01)
    for epoch in range(10):
        assert opt.lr_at(epoch)["0"] == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        reference.step()
        scheduler.step()
    assert opt.lr_at(8)["1"] > opt.lr_at(6)["1"] == pytest.approx(0.01)


def test_a_floor_bounds_reduced_rates_only():
    schedule = {"milestones": [1, 2], "factor": 0.1, "floor": 1e-2}
    assert [optimizer("sgd", lr=0.05, schedule=schedule).lr_at(e) for e in range(3)] == [0.05, 0.01, 0.01]
    assert optimizer("sgd", lr=0.001, schedule=schedule).lr_at(0) == 0.001


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
def test_the_rate_of_the_set_epoch_is_used(layout):
    params, gradient = tensors(2), tensors(2, 100)
    expected = [p - 0.01 * g for p, g in zip(flat(params), flat(gradient), strict=True)]
    params = strided(params) if layout == "strided" else params
    opt = optimizer("sgd", lr=0.1, schedule={"milestones": [3]}).init(params)
    opt.set_epoch(3)
    opt.step(params, gradient)
    for a, e in zip(flat(params), expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-14, atol=1e-14)


def test_a_parameter_that_moved_to_other_memory_is_followed():
    params, gradient = tensors(), tensors(seed=100)
    opt = optimizer("sgd", lr=0.1).init(params)
    opt.step(params, gradient)
    old = params["0"]["weight"]
    params["0"]["weight"] = old.clone()
    opt.step(params, gradient)
    torch.testing.assert_close(params["0"]["weight"], old - 0.1 * gradient["0"]["weight"])
    params["0"]["weight"] = old.mT.contiguous().mT
    with pytest.raises(ValueError, match=r"0\.weight is no longer the contiguous"):
        opt.step(params, gradient)


def test_a_copy_of_a_stepped_optimiser_leaves_the_original_alone():
    params, gradient = tensors(), tensors(seed=100)
    opt = optimizer("sgd", lr=0.1, momentum=0.9).init(params)
    opt.step(params, gradient)
    twin, twin_params = copy.deepcopy((opt, params))
    opt.step(params, gradient)
    saved = mapped(params, torch.clone)
    twin.step(twin_params, gradient)
    assert all(torch.equal(a, b) for a, b in zip(flat(params), flat(saved), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(flat(twin_params), flat(saved), strict=True))


def test_an_optimiser_without_parameters_says_what_to_do():
    with pytest.raises(ValueError, match=r"call init\(params\) first"):
        optimizer("sgd", lr=0.1).step(tensors(), tensors())


def test_gradients_that_fit_no_parameter_are_refused():
    params, gradient = tensors(), tensors(seed=100)
    opt = optimizer("sgd", lr=0.1).init(params)
    with pytest.raises(ValueError, match=r"gradients without a parameter: \['2.weight'\]"):
        opt.step(params, {**gradient, "2": {"weight": torch.zeros(1)}})
    with pytest.raises(ValueError, match=r"gradient of 0.bias has shape \(4, 3\)"):
        opt.step(params, {"0": {"bias": gradient["0"]["weight"]}})


def test_members_are_told_from_convolutions_and_may_be_given():
    conv = {"0": {"weight": torch.zeros(2, 4, 3, 5, 5)}, "1": {"weight": torch.zeros(2, 6, 4)}}
    run({"name": "sgd", "lr": [0.1, 0.2]}, conv, [conv])
    single = {"0": {"weight": torch.zeros(4, 3, 5, 5)}}
    with pytest.raises(ConfigError, match=r"optimizer.lr holds 2 numbers; must be one, or one for each of 1 members"):
        optimizer("sgd", lr=[0.1, 0.2]).init(single)
    free = {"0": {"value": torch.ones(2)}}
    opt = optimizer("sgd", lr=[0.1, 0.2]).init(free, members=2)
    opt.step(free, {"0": {"value": torch.ones(2)}})
    torch.testing.assert_close(free["0"]["value"], torch.tensor([0.9, 0.8]))


def test_stacked_parameters_of_different_sizes_and_mixed_dtypes_are_refused():
    with pytest.raises(ValueError, match="share their first axis"):
        optimizer("sgd", lr=0.1).init({"0": {"weight": torch.zeros(2, 3, 3)}, "1": {"weight": torch.zeros(3, 3, 3)}})
    with pytest.raises(ValueError, match="same device and dtype"):
        optimizer("sgd", lr=0.1).init({"0": {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3).double()}})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "adamax", "lr": 0.1}, r"optimizer.name = 'adamax' \(did you mean 'adam'\?\)"),
        ({"name": "sgd"}, "optimizer.lr is missing; must be a finite number >= 0"),
        ({"name": "sgd", "lr": -0.1}, "optimizer.lr = -0.1; must be a finite number >= 0"),
        ({"name": "sgd", "lr": [0.1, float("inf")]}, "optimizer.lr = inf"),
        ({"name": "sgd", "lr": "0.1"}, "optimizer.lr = '0.1'"),
        ({"name": "sgd", "lr": []}, "at least one number"),
        ({"name": "sgd", "lr": 0.1, "momentun": 0.9}, r"'momentun' \(did you mean 'momentum'\?\)"),
        (
            {"name": "sgd", "lr": 0.1, "momentum": 1.0},
            r"optimizer.momentum = 1.0; must be a number in \[0, 1\)",
        ),
        ({"name": "sgd", "lr": 0.1, "nesterov": True}, "needs momentum > 0 and dampening = 0"),
        ({"name": "sgd", "lr": 0.1, "nesterov": 1}, "optimizer.nesterov = 1; must be true or false"),
        ({"name": "sgd", "lr": 0.1, "betas": [0.9, 0.9]}, "key of sgd = 'betas'"),
        ({"name": "adam", "lr": 0.1, "betas": 0.9}, "optimizer.betas = 0.9; must be a pair"),
        ({"name": "adam", "lr": 0.1, "betas": [0.9, 1.2]}, "optimizer.beta2 = 1.2"),
        (
            {"name": "adam", "lr": 0.1, "clip_norm": 0},
            "optimizer.clip_norm = 0; must be a finite number > 0, or null",
        ),
        ({"name": "adam", "lr": 0.1, "clip": "joint"}, "optimizer.clip = 'joint'"),
        ({"name": "sgd", "lr": 0.1, "schedule": {"name": "linear"}}, "optimizer.schedule.name = 'linear'"),
        ({"name": "sgd", "lr": 0.1, "schedule": {"milestones": [0]}}, r"milestones = \[0\]"),
        ({"name": "sgd", "lr": 0.1, "schedule": {"name": "steps"}}, "milestones = None"),
        ({"name": "sgd", "lr": 0.1, "schedule": {"milestones": [1], "epochs": 3}}, "key of steps = 'epochs'"),
        ({"name": "sgd", "lr": 0.1, "schedule": {"milestones": [1], "factor": -1}}, "schedule.factor = -1"),
        ({"name": "sgd", "lr": 0.1, "schedule": {"name": "cosine"}}, "schedule.epochs = None"),
    ],
)
def test_a_wrong_hyperparameter_is_refused_with_what_is_allowed(config, message):
    with pytest.raises(ConfigError, match=message):
        optimizer(**config)


def test_rates_by_layer_must_name_all_layers():
    with pytest.raises(ConfigError, match=r"optimizer.lr names layers \['0'\]; must name all of \['0', '1'\]"):
        optimizer("sgd", lr={"0": 0.1}).init(tensors())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", CASES)
def test_steps_on_the_gpu_agree_with_the_cpu_and_can_be_captured(case):
    config = CASES[case][0]
    gradients = [tensors(3, 100 + i) for i in range(6)]
    expected = run(config, tensors(3), gradients)
    params, static = mapped(tensors(3), torch.Tensor.cuda), mapped(gradients[0], torch.Tensor.cuda)
    opt = optimizer(**config).init(params)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        opt.step(params, static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        opt.step(params, static)
    for g in gradients[1:]:
        for a, b in zip(flat(static), flat(g), strict=True):
            a.copy_(b)
        graph.replay()
    assert_same(mapped(params, torch.Tensor.cpu), expected, 1e-12)


def test_a_rate_that_yaml_took_for_text_is_answered_with_how_to_write_it():
    with pytest.raises(ConfigError, match=r"lr = '1e-3'; must be .*; YAML reads 1e-3 as text, write 1\.0e-3"):
        optimizer("sgd", lr="1e-3")
