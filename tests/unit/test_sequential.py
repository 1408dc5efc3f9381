"""Nets of one's own: a `torch.nn.Sequential` is read exactly, or refused in one line, and comes back as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

import credit
from credit.errors import ConfigError
from credit.nets.modules import Phi
from credit.nets.names import ACTIVATIONS

torch.manual_seed(0)
IMAGE = (2, 9, 8)


def dense(*more):
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3), *more)


def flattened():
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 7), nn.LeakyReLU(0.2), nn.Linear(7, 3))


def small_conv():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 5), nn.Tanh(),
        nn.Linear(5, 3),
    )  # fmt: skip


def large_conv():
    """Every block has windows of its own; layers within a layer; words for padding."""
    features = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same", bias=False), nn.ELU(), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(
        features, nn.Conv2d(4, 5, 2, stride=1, padding="valid"), nn.Identity(), nn.Sigmoid(), nn.Conv2d(5, 6, 1),
        nn.Flatten(), nn.ReLU(), nn.Linear(6 * 4 * 3, 3), nn.Tanh(),
    )  # fmt: skip


def dropping():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(126, 5), nn.Tanh(), nn.Dropout(0.2),
        nn.Linear(5, 3),
    )  # fmt: skip


MODELS = {
    "dense": (dense, (6,)), "one layer": (lambda: nn.Sequential(nn.Linear(6, 3)), (6,)),
    "flattened": (flattened, IMAGE), "conv": (small_conv, IMAGE), "windows": (large_conv, IMAGE),
    "dropout": (dropping, IMAGE),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def case(request):
    make, shape = MODELS[request.param]
    return make().double().eval(), shape


def inputs(shape, n=7):
    return torch.randn(n, *shape, dtype=torch.float64)


def same(a, b):
    assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_the_net_computes_what_the_model_does(case):
    model, shape = case
    net, params = credit.from_torch(model, shape)
    assert not net.stacked(params)
    assert net.like(params).dtype == torch.float64
    x = inputs(shape)
    same(net.predict(params, x), model(x))
    same(net.forward(params, x).output, model(x))


def test_and_comes_back(case):
    model, shape = case
    net, params = credit.from_torch(model, shape)
    back, x = credit.to_torch(net, params).eval(), inputs(shape)
    same(back(x), model(x))
    again, values = credit.from_torch(back, shape)
    assert again == net
    assert all(torch.equal(t, values[b][n]) for b, e in params.items() for n, t in e.items())


@pytest.mark.parametrize("make", [dense, small_conv, dropping])
def test_a_model_written_in_the_usual_way_takes_its_weights_back_by_their_names(make):
    model = make()
    shape = (6,) if make is dense else IMAGE
    back = credit.to_torch(*credit.from_torch(model, shape))
    assert back.state_dict().keys() == model.state_dict().keys()
    model.load_state_dict(back.state_dict())


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_gradients_of_backpropagation_are_those_of_autograd(case, loss):
    model, shape = case
    for layer in model:
        if isinstance(layer, nn.Dropout):
            return  # drawn by credit's own streams
    net, params = credit.from_torch(model, shape, loss=loss)
    x, y = inputs(shape), torch.randint(3, (7,))
    dense_y = torch.nn.functional.one_hot(y, 3).double()
    rule = credit.method("bp")
    step = rule.gradients(net, params, rule.init(net, params, 0), credit.Batch(x, y), 0)
    function = nn.CrossEntropyLoss() if loss == "softmax_cross_entropy" else nn.MSELoss()
    value = function(model(x), y if loss == "softmax_cross_entropy" else dense_y)
    value.backward()
    found = [t for b in step.gradients.values() for t in b.values()]
    expected = [p.grad for p in model.parameters()]
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        same(mine, theirs)
    same(step.info["loss"], value.detach())


def test_weights_are_copies_in_both_directions():
    model = dense()
    net, params = credit.from_torch(model, 6)
    before = model[0].weight.detach().clone()
    params["0"]["weight"].zero_()
    assert torch.equal(model[0].weight, before)
    back = credit.to_torch(net, params)
    with torch.no_grad():
        back[2].weight.zero_()
    assert params["1"]["weight"].abs().sum() > 0


def test_a_transposed_weight_is_taken_as_it_reads():
    model = dense().double()
    model[0].weight = nn.Parameter(torch.randn(6, 5, dtype=torch.float64).T)
    net, params = credit.from_torch(model, 6)
    assert params["0"]["weight"].is_contiguous()
    same(net.predict(params, x := inputs((6,))), model(x))


def test_a_list_of_models_is_a_stack_and_each_member_comes_back():
    models = [small_conv().double() for _ in range(3)]
    net, params = credit.from_torch(models, IMAGE)
    assert net.members(params) == 3
    x = inputs(IMAGE)
    for found, back, model in zip(net.predict(params, x.expand(3, *x.shape)), credit.to_torch(net, params), models):
        same(found, model(x))
        same(back(x), model(x))
    one, values = credit.from_torch(models[:1], IMAGE)
    assert (one.members(values), len(credit.to_torch(one, values))) == (1, 1)


@pytest.mark.parametrize("name", sorted({*ACTIVATIONS} - {"linear"}))
def test_every_activation_comes_back_with_its_slope(name):
    net = credit.dense([6, 5, 3], hidden="tanh" if name == "softmax" else name, output=name, loss="half_squared_error")
    params = net.init(3, dtype=torch.float64)
    model, x = credit.to_torch(net, params), inputs((6,))
    assert credit.from_torch(model, 6, loss="half_squared_error")[0] == net
    same(model(x), net.predict(params, x))
    y = torch.zeros(7, 3, dtype=torch.float64)
    rule = credit.method("bp")
    step = rule.gradients(net, params, rule.init(net, params, 0), credit.Batch(x, y), 0)
    (0.5 * (model(x) - y).square().sum() / 7).backward()
    for mine, theirs in zip((t for b in step.gradients.values() for t in b.values()), model.parameters(), strict=True):
        same(mine, theirs.grad)


@pytest.mark.parametrize(
    ("rule", "model", "shape"),
    [
        ("bp", dense, (6,)), ("fa", small_conv, IMAGE), ("dfa", dense, (6,)), ("drtp", small_conv, IMAGE),
        ("dfc_ssa", flattened, IMAGE), ("pc", dense, (6,)), ("pepita", flattened, IMAGE), ("ldrl", small_conv, IMAGE),
        ("di", dense, (6,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stacked", [False, True])
def test_any_rule_trains_it_in_a_loop_of_ones_own(rule, model, shape, stacked):
    torch.manual_seed(1)
    models = [model().double() for _ in range(2)]
    net, params = credit.from_torch(models if stacked else models[0], shape)
    members = net.members(params)
    rand = credit.Rand([0, 1] if members else 0, dtype=torch.float64)
    rule = credit.method(rule)
    state = rule.init(net, params, rand)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.05})
    x = inputs(shape, 16)
    y = (x.flatten(1)[:, :3]).argmax(1)
    batch = credit.Batch(x.expand(members, *x.shape), y.expand(members, 16)) if members else credit.Batch(x, y)
    before = [p.clone() for p in models[0].parameters()]
    for _ in range(3):
        params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
        assert info["loss"].isfinite().all()
    back = credit.to_torch(net, params)
    first, output = (back[0], net.predict(params, batch.x)[0]) if stacked else (back, net.predict(params, x))
    same(first(x), output)
    changed = [not torch.equal(p, q) for p, q in zip(first.parameters(), before, strict=True)]
    assert any(changed)
    assert all(torch.equal(p, q) for p, q in zip(models[0].parameters(), before, strict=True))  # the user's own


def shared():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer)


class Odd(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class OwnReLU(nn.ReLU):
    pass


def hooked():
    model = dense()
    model[1].register_forward_hook(lambda module, x, out: 2 * out)
    return model


def after_conv(*layers, out=None):
    return nn.Sequential(nn.Conv2d(2, 3, 3), *layers, *([nn.Flatten(), nn.Linear(out, 3)] if out else []))


REFUSED = {
    "no Sequential": (nn.Linear(6, 3), 6, r"^model is a Linear; must be a torch\.nn\.Sequential$"),
    "another forward": (Odd(nn.Linear(6, 3)), 6, r"^model is a Odd"),
    "nothing": (nn.Sequential(), 6, r"^the model must end in a Linear layer"),
    "unknown": (
        nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)),
        6,
        r"^layer 1 \(BatchNorm1d\): is not known; known are: Linear",
    ),
    "within": (nn.Sequential(nn.Sequential(nn.Linear(6, 5), nn.GELU())), 6, r"^layer 0\.1 \(GELU\): is not known"),
    "a class of one's own": (nn.Sequential(nn.Linear(6, 5), OwnReLU()), 6, r"^layer 1 \(OwnReLU\): is not known"),
    "hooks": (hooked(), 6, r"^layer 1 \(Tanh\): has hooks"),
    "slope": (
        nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.3)),
        6,
        r"^layer 1 \(LeakyReLU\): has slope 0\.3; the nets know 0\.2, 0\.1, 0\.01$",
    ),
    "alpha": (nn.Sequential(nn.Linear(6, 5), nn.ELU(0.5)), 6, r"^layer 1 \(ELU\): has alpha = 0\.5"),
    "softmax": (nn.Sequential(nn.Linear(6, 5), nn.Softmax(0)), 6, r"^layer 1 \(Softmax\): has dim = 0"),
    "log softmax": (nn.Sequential(nn.Linear(6, 5), nn.LogSoftmax(-1)), 6, r"leave it out, the loss"),
    "size": (
        nn.Sequential(nn.Linear(6, 5), nn.Linear(4, 3)),
        6,
        r"^layer 1 \(Linear\): takes 4 inputs; what comes in has 5$",
    ),
    "input": (dense(), 7, r"^layer 0 \(Linear\): takes 6 inputs; what comes in has 7$"),
    "images": (nn.Sequential(nn.Linear(8, 5)), IMAGE, r"^layer 0 \(Linear\): gets images \(2, 9, 8\); put a Flatten"),
    "channels": (
        nn.Sequential(nn.Conv2d(3, 3, 3)),
        IMAGE,
        r"^layer 0 \(Conv2d\): takes 3 channels; what comes in has 2$",
    ),
    "flat conv": (nn.Sequential(nn.Flatten(), nn.Conv2d(2, 3, 3)), IMAGE, r"^layer 1 \(Conv2d\): gets \(144,\)"),
    "ends in conv": (after_conv(nn.ReLU()), IMAGE, r"^the model must end in a Linear layer"),
    "dilation": (
        nn.Sequential(nn.Conv2d(2, 3, 3, dilation=2)),
        IMAGE,
        r"^layer 0 \(Conv2d\): has dilation = \(2, 2\); the nets know 1 alone$",
    ),
    "groups": (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)), IMAGE, r"has groups = 2; the nets know 1 alone$"),
    "padding mode": (
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")),
        IMAGE,
        r"has padding_mode = 'reflect'",
    ),
    "kernel": (nn.Sequential(nn.Conv2d(2, 3, (3, 2))), IMAGE, r"has kernel_size = \(3, 2\); the nets know one number"),
    "stride": (nn.Sequential(nn.Conv2d(2, 3, 3, stride=(2, 1))), IMAGE, r"has stride = \(2, 1\)"),
    "same": (nn.Sequential(nn.Conv2d(2, 3, 2, padding="same")), IMAGE, r"padding 'same' with a kernel of even size"),
    "too large": (
        nn.Sequential(nn.Conv2d(2, 3, 9)),
        IMAGE,
        r"^layer 0 \(Conv2d\): does not fit: of \(2, 9, 8\) it leaves \(3, 1, 0\)$",
    ),
    "ceil": (after_conv(nn.MaxPool2d(2, ceil_mode=True)), IMAGE, r"^layer 1 \(MaxPool2d\): has ceil_mode = True"),
    "pool dilation": (after_conv(nn.MaxPool2d(2, dilation=2)), IMAGE, r"has dilation = 2"),
    "average": (after_conv(nn.AvgPool2d(2)), IMAGE, r"^layer 1 \(AvgPool2d\): is not known; the nets have max-pooling"),
    "order": (
        after_conv(nn.MaxPool2d(2), nn.ReLU()),
        IMAGE,
        r"^layer 2 \(ReLU\): comes after the pooling of layer 0; a block is",
    ),
    "twice": (
        nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Tanh()),
        6,
        r"^layer 2 \(Tanh\): comes after the activation of layer 0",
    ),
    "pool of units": (
        nn.Sequential(nn.Linear(6, 5), nn.MaxPool2d(2)),
        6,
        r"^layer 1 \(MaxPool2d\): stands behind a Linear",
    ),
    "first": (nn.Sequential(nn.MaxPool2d(2)), IMAGE, r"^layer 0 \(MaxPool2d\): stands before any"),
    "flatten": (nn.Sequential(nn.Flatten(2)), IMAGE, r"^layer 0 \(Flatten\): must flatten all axes but the first"),
    "dropout of outputs": (dense(nn.Dropout(0.5)), 6, r"^layer 4: Dropout after the last layer"),
    "some dropout": (
        nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 4), nn.Linear(4, 3)),
        6,
        r"^layer 2: Dropout p = 0\.0 behind it, 0\.5 behind layer 0",
    ),
    "all dropped": (
        nn.Sequential(nn.Linear(6, 5), nn.Dropout(1.0), nn.Linear(5, 3)),
        6,
        r"^layer 1 \(Dropout\): drops everything",
    ),
    "channels dropped": (after_conv(nn.Dropout2d(0.5)), IMAGE, r"^layer 1 \(Dropout2d\): is not known"),
    "shared": (shared(), 6, r"^layer 2 \(Linear\): is layer 0 once more; a net shares no weights$"),
    "half": (nn.Sequential(nn.Linear(6, 5).half()), 6, r"has weights of torch\.float16"),
    "mixed": (
        nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3).double()),
        6,
        r"^layer 1 \(Linear\): has weights of torch\.float64; all must",
    ),
    "stack": ([dense(), nn.Sequential(nn.Linear(6, 3))], 6, r"^model\[1\] has other layers"),
    "in a stack": ([dense(), nn.Sequential(nn.GELU())], 6, r"^model\[1\], layer 0 \(GELU\)"),
    "no model": ([], 6, r"^model = \[\]"),
    "shape": (dense(), (), r"^shape_in = \(\)"),
    "loss": (dense(), 6, None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_net_has_not_is_refused_in_one_line_with_its_index(name):
    model, shape, message = REFUSED[name]
    more = {"loss": "nll"} if name == "loss" else {}
    with pytest.raises(ConfigError, match=message or "loss = 'nll'") as error:
        credit.from_torch(model, shape, **more)
    assert "\n" not in str(error.value)


def test_normalised_weights_are_refused():
    with pytest.warns(FutureWarning):
        model = nn.Sequential(weight_norm(nn.Linear(6, 3)))
    with pytest.raises(ConfigError, match=r"layer 0 \(Linear\): has hooks"):
        credit.from_torch(model, 6)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)))
    with pytest.raises(ConfigError, match=r"layer 0 \(ParametrizedLinear\): is not known"):
        credit.from_torch(model, 6)


def test_nets_without_a_counterpart_are_refused():
    net = credit.resnet([2, 8, 8], channels=[3], blocks=[1], n_out=3)
    with pytest.raises(ConfigError, match="block 1 of this resnet net is a Stage; torch has no such layer"):
        credit.to_torch(net, net.init(0))
    net = credit.dense([4, 4, 3], connections=["diagonal", "full"])
    with pytest.raises(ConfigError, match="block 0: connections = 'diagonal'"):
        credit.to_torch(net, net.init(0))


def test_an_activation_of_ones_own_code_names_itself():
    assert repr(Phi("scaled_tanh")) == "Phi(scaled_tanh)"
