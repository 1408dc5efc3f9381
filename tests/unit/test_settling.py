"""Layers that drive each other: phases, fixed points, energies, and what is kept between mini-batches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.dag.cost import formula
from credit.errors import ConfigError
from credit.methods.settling import energies
from credit.methods.settling.chain import Chain
from credit.methods.tp_pinv import pseudo_inverse
from credit.nets.work import Run
from tests.conftest import small_batch

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
RULES = ("pc_coded", "generec", "hopfield", "almeida_pineda")
SETTLED = (*RULES, "any_energy")
LEARN_ONLY = {"generec": {"negative_phase": False}, "hopfield": {"negative_phase": False}}
SEEDS = [3, 8]


def small(seeds=0, hidden="tanh", gain=0.4, bias=True, loss="half_squared_error", sizes=(4, 5, 3, 2)):
    """(net, params, batch of 6) with weights small enough for everything to settle."""
    net = credit.dense(list(sizes), hidden, loss=loss, bias=bias)
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, {"name": "xavier_normal", "gain": gain})
    for i, block in params.items():
        if bias:
            block["bias"] += rand.normal(f"bias.{i}", block["bias"].shape[-1:]) * 0.1
    return net, params, small_batch(net, seeds, 6)


def gradients(name, net, params, batch, state=None, rand=None, **hyper):
    return credit.method(name, **hyper).gradients(net, params, state or {}, batch, rand)


def each(tree):
    return [t for block in tree.values() for t in block.values()]


# ---- phases and fixed points


def test_generec_that_rests_at_the_target_learns_nothing():
    net, params, batch = small()
    settings = {"steps": 600, "inference": 0.2}
    free = gradients("generec", net, params, batch, **settings)
    there = credit.Batch(batch.x, free.info["prediction"])
    again = gradients("generec", net, params, there, **settings)
    assert all((g.abs() < 1e-12).all() for g in each(again.gradients))
    assert all((g.abs() > 1e-4).any() for g in each(free.gradients))
    rest = free.info["nodes"]["predict"]
    for i in (1, 2, 3):
        drive = credit.method("generec").drive(Chain.of(net, params, True), rest, i)
        assert (drive.abs() < 1e-12).all()


@pytest.mark.parametrize("input_activation", [True, False])
def test_the_exact_adjoint_of_almeida_pineda_is_the_gradient_through_the_fixed_point(input_activation):
    net, params, batch = small(gain=0.3)
    settings = {"steps": 300, "inference": 0.3, "input_activation": input_activation}
    ours = gradients("almeida_pineda", net, params, batch, adjoint="exact", **settings).gradients
    leaves = {i: {n: t.clone().requires_grad_() for n, t in block.items()} for i, block in params.items()}
    s = batch.x.tanh() if input_activation else batch.x
    x = [torch.zeros(6, n, dtype=torch.float64) for n in (5, 3, 2)]
    for _ in range(300):
        rates = [s, *(one.tanh() for one in x)]
        below = [rates[i] @ leaves[str(i)]["weight"].T + leaves[str(i)]["bias"] for i in range(3)]
        above = [rates[i + 2] @ leaves[str(i + 1)]["weight"] for i in range(2)]
        x = [0.7 * old + 0.3 * new for old, new in zip(x, [below[0] + above[0], below[1] + above[1], below[2]])]
    (0.5 * (x[-1] - batch.y).square().sum() / 6).backward()
    for i, block in leaves.items():
        for n, t in block.items():
            torch.testing.assert_close(ours[i][n], t.grad, rtol=1e-8, atol=1e-11)
    released = gradients("almeida_pineda", net, params, batch, **settings).gradients
    assert not torch.allclose(released["0"]["weight"], ours["0"]["weight"], rtol=1e-3)


@pytest.mark.parametrize("hidden", ["linear", "tanh"])
def test_pc_coded_without_f_of_the_input_settles_where_pc_does(hidden):
    net, params, batch = small(hidden=hidden, loss="squared_error_sum")
    coded = gradients("pc_coded", net, params, batch, steps=800, input_activation=False)
    rule = credit.method("pc", steps=800, inference={"discount": 1.0})
    expected = rule.gradients(net, params, rule.init(net, params, None), batch, None)
    for i, block in expected.gradients.items():
        for n, g in block.items():
            torch.testing.assert_close(6 * coded.gradients[i][n], g, **CLOSE)
    for ours, x in zip(coded.info["nodes"]["learn"][1:-1], expected.info["x"], strict=True):
        torch.testing.assert_close(ours, x, **CLOSE)
    torch.testing.assert_close(coded.info["prediction"], net.predict(params, batch.x), **CLOSE)


def test_one_sweep_of_pc_coded_by_hand():
    """From given nodes, with a coefficient of the loss: errors as before the sweep, activities as after it."""
    net, params, batch = small(bias=False)
    v = [params[str(i)]["weight"].T for i in range(3)]
    drawn = {f"activity.{i}": torch.randn(6, n, dtype=torch.float64) for i, n in enumerate((5, 3, 2), 1)}
    x = [batch.x, drawn["activity.1"], drawn["activity.2"], batch.y]
    eps = [None, *(x[i] - x[i - 1].tanh() @ v[i - 1] for i in (1, 2, 3))]
    up = [None, eps[2] @ v[1].T, 4 * eps[3] @ v[2].T]
    after = [x[0], *(x[i] + 0.1 * (-eps[i] + (1 - x[i].tanh() ** 2) * up[i]) for i in (1, 2)), x[3]]
    step = gradients("pc_coded", net, params, batch, rand=drawn, steps=1, actions=["learn"], loss_coefficient=2.0)
    for i in range(3):
        torch.testing.assert_close(step.gradients[str(i)]["weight"], -eps[i + 1].T @ after[i].tanh() / 6, **CLOSE)
    predicted = gradients("pc_coded", net, params, batch, rand=drawn, steps=1, actions=["predict", "learn"],
                          loss_coefficient=2.0).info["prediction"]  # fmt: skip
    free = drawn["activity.3"] - x[2].tanh() @ v[2]
    torch.testing.assert_close(predicted, drawn["activity.3"] - 0.1 * 2 * free, **CLOSE)


def test_a_rate_is_cut_by_the_member_whose_energy_does_not_fall_and_one_that_was_never_cut_is_given_up():
    """By hand: E of every sweep compared with the one before, ahead of the move."""
    net, params, batch = small(SEEDS, bias=False, gain=1.0)
    for block in params.values():
        block["weight"][1] *= 0.1
    steps, lr, discount = 12, [1.6, 0.1], 0.5
    hyper = {"steps": steps, "inference": {"lr": lr, "discount": discount}, "least_discounts": 1}
    step = gradients("pc_coded", net, params, batch, actions=["reset", "learn"], **hyper)
    for m, rho in enumerate(lr):
        v = [params[str(i)]["weight"][m].T for i in range(3)]
        x = [batch.x[m], torch.zeros(6, 5).double(), torch.zeros(6, 3).double(), batch.y[m]]
        before, cuts = None, 0
        for _ in range(steps):
            eps = [None, *(x[i] - x[i - 1].tanh() @ v[i - 1] for i in (1, 2, 3))]
            energy = sum((e**2).sum().item() / 2 for e in eps[1:])
            if before is not None and not energy < before:
                rho, cuts = rho * discount, cuts + 1
            before = energy
            moved = [x[i] + rho * (-eps[i] + (1 - x[i].tanh() ** 2) * (eps[i + 1] @ v[i].T)) for i in (1, 2)]
            x = [x[0], *moved, x[3]]
        assert step.info["discounts"][m] == cuts
        for i in (1, 2):
            torch.testing.assert_close(step.info["nodes"]["learn"][i][m], x[i], **CLOSE)
    assert step.info["discounts"][0] > 0
    assert step.info["diverged"].tolist() == [False, True]
    assert "diverged" not in gradients("pc_coded", net, params, batch, steps=2).info


def test_without_a_negative_phase_only_the_clamped_correlations_are_learned():
    net, params, batch = small()
    both = gradients("generec", net, params, batch)
    clamped = gradients("generec", net, params, batch, negative_phase=False)
    rates = {a: [x.tanh() for x in nodes] for a, nodes in both.info["nodes"].items()}
    for i in range(3):
        positive, free = (rates[a][i + 1].T @ rates[a][i] / 6 for a in ("learn", "predict"))
        torch.testing.assert_close(clamped.gradients[str(i)]["weight"], -positive, **CLOSE)
        torch.testing.assert_close(both.gradients[str(i)]["weight"], free - positive, **CLOSE)
        bias = (rates["predict"][i + 1] - rates["learn"][i + 1]).sum(0) / 6
        torch.testing.assert_close(both.gradients[str(i)]["bias"], bias, **CLOSE)


@pytest.mark.parametrize("name", RULES)
def test_output_units_without_a_target_are_left_to_the_net(name):
    """At rest a free unit is where its layer below puts it; its own target has no part in anything."""
    net, params, batch = small(gain=0.2)
    weights = torch.ones_like(batch.y)
    weights[:, 1] = 0
    masked = credit.Batch(batch.x, batch.y, weights)
    step = gradients(name, net, params, masked, steps=20)
    other = credit.Batch(batch.x, torch.where(weights == 0, batch.y + 1, batch.y), weights)
    again = gradients(name, net, params, other, steps=20)
    assert all(map(torch.equal, each(step.gradients), each(again.gradients)))
    output = step.info["nodes"]["learn"][-1]
    if name != "almeida_pineda":
        assert torch.equal(output[:, 0], batch.y[:, 0])
        assert (output[:, 1] != batch.y[:, 1]).all()
    if name == "pc_coded":
        settled = gradients(name, net, params, masked, steps=800).info
        assert (settled["eps"][-1][:, 1].abs() < 1e-12).all()
        assert (settled["eps"][-1][:, 0].abs() > 1e-3).all()


def test_output_units_without_a_target_are_free_in_any_energy_too():
    net, params, batch = small(gain=0.2, loss="squared_error_sum")
    weights = torch.ones_like(batch.y)
    weights[:, 1] = 0
    rule = credit.method("any_energy", steps=800, inference={"discount": 1.0})
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.0})
    masked = credit.Batch(batch.x, batch.y, weights)
    nodes = rule.update(net, params, opt, {}, masked, None)[3]["nodes"]["learn"]
    mu = Chain.of(net, params, True).below(nodes, 3)
    assert torch.equal(nodes[3][:, 0], batch.y[:, 0])
    torch.testing.assert_close(nodes[3][:, 1], mu[:, 1], **CLOSE)
    assert ((nodes[3] - mu)[:, 0].abs() > 1e-3).all()


@pytest.mark.parametrize("name", RULES)
def test_increments_are_divided_by_the_samples_whatever_the_loss(name):
    net, params, batch = small()
    net_of_sum = small(loss="squared_error_sum")[0]
    mean, total = (gradients(name, one, params, batch, steps=5).gradients for one in (net, net_of_sum))
    assert all(map(torch.equal, each(mean), each(total)))
    partial = credit.Batch(batch.x, batch.y, divisor=12)
    opt = credit.method(name).optimizer(net, params, {}, {"name": "sgd", "lr": 1.0})
    for one in (net, net_of_sum):
        rule = credit.method(name, steps=5)
        _, _, _, info = rule.update(one, copy.deepcopy(params), opt, {}, partial, None)
        for ours, whole in zip(each(info["gradients"]), each(mean), strict=True):
            torch.testing.assert_close(ours, 0.5 * whole, **CLOSE)


# ---- what is kept between mini-batches


@pytest.mark.parametrize("name", SETTLED)
@pytest.mark.parametrize("seeds", [3, SEEDS])
def test_activities_are_drawn_once_and_then_go_on_where_they_were(name, seeds):
    net, params, batch = small(seeds)
    rand, given = credit.Rand(seeds, dtype=torch.float64), LEARN_ONLY.get(name, {})
    rule = credit.method(name, actions=["learn"], steps=3, **given)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    state = rule.init(net, params, rand)
    assert state == {}
    started = copy.deepcopy(params)
    params, opt, state, _ = rule.update(net, params, opt, state, batch, rand)
    fresh = credit.Rand(seeds, dtype=torch.float64)
    drawn = [batch.x, *(fresh.normal(f"activity.{i}", (6, n)) for i, n in enumerate((5, 3, 2), 1))]
    kept = {"almeida_pineda": {"x", "y"}}.get(name, {"x"})
    assert state.keys() == kept
    if name == "almeida_pineda":  # nothing settles but the errors, which start as a copy of the activities
        assert all(torch.equal(state["x"][str(i)], drawn[i]) for i in (1, 2, 3))
        y = [one.clone() for one in drawn]
        chain = Chain.of(net, started, True)
        for _ in range(3):
            for i in range(4):
                y[i] = y[i] + 0.1 * (flow(chain, drawn, y, i, batch.y) - y[i])
        for i in range(4):
            torch.testing.assert_close(state["y"][str(i)], y[i], **CLOSE)
    else:
        assert torch.equal(state["x"]["3"], batch.y)
        assert not torch.equal(state["x"]["1"], drawn[1])
    assert torch.equal(state["x"]["0"], batch.x)
    replayed = {f"activity.{i}": state["x"][str(i)] for i in (1, 2, 3)}
    expected = rule.update(net, copy.deepcopy(params), opt, {}, batch, replayed)[3]
    again = rule.update(net, params, opt, state, batch, None)[3]
    for ours, other in zip(again["nodes"]["learn"][1:], expected["nodes"]["learn"][1:], strict=True):
        assert torch.equal(ours, other)


def flow(chain, x, y, i, target):
    """Where the released code draws y_i to, of its formula."""
    v = [block["weight"].mT for block in chain.params]
    if i == 3:
        return target - x[3]
    up = y[i + 1] @ v[i].mT + (y[i - 1] @ v[i - 1] if i else 0.0)
    return (1 - x[i].tanh() ** 2) * up


@pytest.mark.parametrize("name", SETTLED)
def test_mini_batches_of_two_sizes_need_a_reset(name):
    net, params, batch = small()
    smaller = credit.Batch(batch.x[:4], batch.y[:4])
    for actions, refused in ((["learn"], True), (["reset", "predict", "learn"], False)):
        given = LEARN_ONLY.get(name, {}) if refused else {}
        rule = credit.method(name, actions=actions, steps=2, **given)
        opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.0})
        state = rule.update(net, params, opt, {}, batch, None)[2]
        if not refused:
            assert state == {}
            rule.update(net, params, opt, state, smaller, None)
            continue
        with pytest.raises(ConfigError, match=r"a mini-batch has 4 samples, the activities of the one before are of 6"):
            rule.update(net, params, opt, state, smaller, None)


# ---- energies


def total_energy(name, chain, x, recurrent):
    """The energy in plain formulas, by autograd's leave."""
    total = 0.0
    for i, block in enumerate(chain.params):
        f = [node.tanh() if k or chain.input_activation else node for k, node in enumerate(x)]
        pairs = [(x[i + 1], f[i + 1], f[i] @ block["weight"].mT + block["bias"].unsqueeze(-2))]
        pairs += [(x[i], f[i], f[i + 1] @ block["weight"])] if recurrent else []
        for post, rate, mu in pairs:
            if name == "prediction":
                total = total + 0.5 * (post - mu).square().sum((-2, -1))
            else:
                total = total - (rate * mu).sum((-2, -1))
                total = total + (0.5 * post.square().sum((-2, -1)) if name == "generec" else 0.0)
    return total


@pytest.mark.parametrize("recurrent", [False, True], ids=["forward", "recurrent"])
@pytest.mark.parametrize("input_activation", [True, False])
@pytest.mark.parametrize("name", energies.ENERGIES)
def test_gradients_of_energies_are_those_that_autograd_finds(name, input_activation, recurrent):
    net, params, batch = small(SEEDS)
    params = {i: {n: t.requires_grad_() for n, t in block.items()} for i, block in params.items()}
    x = [t.requires_grad_() for t in (batch.x, *(torch.randn(2, 6, n, dtype=torch.float64) for n in (5, 3, 2)))]
    chain, connections = Chain.of(net, params, input_activation), energies.connections(3, recurrent)
    expected = total_energy(name, chain, x, recurrent)
    expected.sum().backward()
    with torch.no_grad():
        total, nodes = energies.of_nodes(energies.ENERGIES[name], chain, x, connections)
        weights = energies.of_weights(energies.ENERGIES[name], chain, x, connections)
    torch.testing.assert_close(total, expected.detach(), **CLOSE)
    for ours, node in zip(nodes, x, strict=True):
        torch.testing.assert_close(ours, node.grad, **CLOSE)
    for i, block in params.items():
        for n, t in block.items():
            torch.testing.assert_close(weights[i][n], t.grad, **CLOSE)


@pytest.mark.parametrize("name", ["generec", "hopfield"])
def test_a_rule_of_correlations_descends_the_energy_of_its_name(name):
    net, params, batch = small()
    chain, x = Chain.of(net, params, True), [batch.x, *(torch.randn(6, n, dtype=torch.float64) for n in (5, 3, 2))]
    slopes = energies.of_nodes(energies.ENERGIES[name], chain, x, energies.connections(3, False))[1]
    rule = credit.method(name)
    for i in (1, 2, 3):
        torch.testing.assert_close(rule.drive(chain, x, i), -slopes[i], **CLOSE)


@pytest.mark.parametrize("energy", ["prediction", "generec"])
def test_any_energy_settles_where_the_rule_of_that_energy_does(energy):
    net, params, batch = small(gain=0.2, loss="squared_error_sum")
    settings = {"steps": 900, "inference": {"lr": 0.1, "discount": 1.0}}
    phases = energy == "generec"
    rule = credit.method("any_energy", energy=energy, negative_phase=phases, **settings)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.0})
    nodes = rule.update(net, params, opt, {}, batch, None)[3]["nodes"]
    twin = gradients("generec" if phases else "pc_coded", net, params, batch, steps=900).info["nodes"]
    for action in ("predict", "learn"):
        for ours, other in zip(nodes[action], twin[action], strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-11)


def test_any_energy_changes_its_rates_ahead_of_a_move_and_takes_its_steps_with_the_nodes_as_they_are():
    """Against autograd, member by member."""
    net, params, batch = small(SEEDS, gain=1.0, loss="squared_error_sum")
    before = copy.deepcopy(params)
    lr, amplifier, discount = [1.4, 0.05], 1.3, 0.4
    inference = {"lr": lr, "amplifier": amplifier, "discount": discount}
    rule = credit.method(
        "any_energy", steps=9, learning_steps=2, inference=inference, negative_phase=True, connectivity="recurrent"
    )
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.01})
    after, _, _, info = rule.update(net, params, opt, {}, batch, None)
    changed = set()
    for m in range(2):
        p = {i: {n: t[m].clone() for n, t in block.items()} for i, block in before.items()}
        x = [batch.x[m], *(torch.zeros(6, n, dtype=torch.float64) for n in (5, 3, 2))]
        for action, moving in (("predict", (1, 2, 3)), ("learn", (1, 2))):
            x = x if action == "predict" else [*x[:3], batch.y[m]]
            rate, last = lr[m], None
            for _ in range(9):
                x = [t.detach().requires_grad_() for t in x]
                energy = total_energy("prediction", Chain.of(net, p, True), x, True)
                slopes = torch.autograd.grad(energy, x)
                if last is not None:
                    changed.add(bool(energy < last))
                    rate *= amplifier if energy < last else discount
                last = energy.detach()
                x = [t - rate * g if i in moving else t for i, (t, g) in enumerate(zip(x, slopes, strict=True))]
            x = [t.detach() for t in x]
            for ours, node in zip(info["nodes"][action], x, strict=True):
                torch.testing.assert_close(ours[m], node, **CLOSE)
            for _ in range(2):
                leaves = {i: {n: t.detach().requires_grad_() for n, t in block.items()} for i, block in p.items()}
                total_energy("prediction", Chain.of(net, leaves, True), x, True).backward()
                sign = 1 if action == "learn" else -1
                p = {
                    i: {n: t.detach() - sign * 0.01 * 2 * t.grad for n, t in block.items()}
                    for i, block in leaves.items()
                }
        for i, block in after.items():
            for n, t in block.items():
                torch.testing.assert_close(t[m], p[i][n], **CLOSE)
    assert changed == {True, False}


# ---- pseudo-inverses


def test_errors_come_back_through_pseudo_inverses_of_the_weights():
    net, params, batch = small(SEEDS, hidden="linear")
    step = gradients("tp_pinv", net, params, batch)
    for m in range(2):
        h, w = [batch.x[m]], [params[str(i)]["weight"][m] for i in range(3)]
        for i in range(3):
            h.append(h[-1] @ w[i].T + params[str(i)]["bias"][m])
        e = [None, None, None, (h[3] - batch.y[m]) / 6]
        for i in (2, 1):
            inverse = torch.linalg.svd(w[i], full_matrices=False)
            e[i] = e[i + 1] @ (inverse.Vh.T @ torch.diag(1 / inverse.S) @ inverse.U.T).T
        for i in range(3):
            torch.testing.assert_close(step.gradients[str(i)]["weight"][m], e[i + 1].T @ h[i], **CLOSE)
            torch.testing.assert_close(step.gradients[str(i)]["bias"][m], e[i + 1].sum(0), **CLOSE)


def test_with_orthogonal_weights_the_pseudo_inverse_is_backpropagation():
    net = credit.dense([5, 5, 5, 5], "linear", loss="squared_error_sum", bias=False)
    params = net.init(credit.Rand(1, dtype=torch.float64), "orthogonal")
    batch = small_batch(net, 2)
    ours, exact = (gradients(name, net, params, batch).gradients for name in ("tp_pinv", "bp"))
    for a, b in zip(each(ours), each(exact), strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_a_direction_that_is_lost_stays_lost_and_a_member_that_is_not_finite_spoils_no_other():
    u = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    weight = u @ torch.diag(torch.tensor([2.0, 1.0, 1e-19, 0.0], dtype=torch.float64)) @ u.T
    expected = u @ torch.diag(torch.tensor([0.5, 1.0, 0.0, 0.0], dtype=torch.float64)) @ u.T
    found = pseudo_inverse(torch.stack([weight, torch.full_like(weight, torch.nan)]))
    torch.testing.assert_close(found[0], expected, **CLOSE)
    assert found[1].isnan().all()


# ---- what is refused


@pytest.mark.parametrize(
    ("name", "hyper", "net", "message"),
    [
        (
            "tp_pinv",
            {},
            {"hidden": "tanh"},
            "method tp_pinv: net.hidden = .*; needs 'linear', errors come",
        ),
        ("tp_pinv", {}, {"hidden": "linear", "output": "tanh"}, "net.output = 'tanh'; needs 'linear'"),
        ("generec", {}, {"hidden": ["tanh", "relu"]}, "needs one activation for all hidden layers"),
        ("generec", {}, {"output": "tanh"}, "net.output = 'tanh'; needs 'linear', an output is clamped"),
        ("pc_coded", {}, {"keep": 0.5}, "net.keep = 0.5; needs 1"),
        ("any_energy", {}, {"hidden": "softmax"}, "needs another activation"),
        ("hopfield", {}, {"sizes": [4, 2]}, "needs hidden layers"),
    ],
)
def test_a_net_that_a_rule_is_not_defined_for_is_named(name, hyper, net, message):
    net = credit.dense(**{"sizes": [4, 5, 3, 2]} | net)
    with pytest.raises(ConfigError, match=message) as caught:
        credit.method(name, **hyper).check_net(net)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hyper", "message"),
    [
        ("pc_coded", {"actions": ["learn", "predict"]}, "needs 'learn', and before it 'reset', 'predict'"),
        ("pc_coded", {"actions": ["reset", "predict"]}, "needs 'learn'"),
        ("pc_coded", {"actions": ["learn", "learn"]}, "needs 'learn'"),
        ("pc_coded", {"actions": ["forget"]}, "actions"),
        ("pc_coded", {"least_discounts": 2}, "least_discounts = 2; needs inference.discount"),
        ("pc_coded", {"inference": {"discount": 1.5}}, "pc_coded.inference.discount = 1.5"),
        ("generec", {"actions": ["learn"]}, "negative_phase = True; needs the action 'predict'"),
        ("any_energy", {"actions": ["learn"], "negative_phase": True}, "negative_phase = True; needs"),
        ("almeida_pineda", {"actions": ["learn"], "adjoint": "exact"}, "adjoint = 'exact'; needs the action"),
        ("any_energy", {"energy": "free"}, "any_energy.energy = 'free'"),
    ],
)
def test_settings_that_do_not_go_together_are_named(name, hyper, message):
    with pytest.raises(ConfigError, match=message):
        credit.method(name, **hyper)


# ---- what it costs


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        *((name, {}) for name in SETTLED), ("generec", {"actions": ["reset", "learn"], "negative_phase": False}),
        ("almeida_pineda", {"adjoint": "exact"}), ("any_energy", {"connectivity": "recurrent", "learning_steps": 2}),
        ("any_energy", {"negative_phase": True}),
    ],
)  # fmt: skip
def test_an_update_costs_what_is_counted(name, hyper):
    sizes = [40, 32, 24, 16, 10]
    net, rule = credit.dense(sizes, "tanh", loss="half_squared_error"), credit.method(name, steps=4, **hyper)
    params = net.init(credit.Rand(0), "torch_default")
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    with FlopCounterMode(display=False) as counter:
        rule.update(net, params, opt, {}, credit.Batch(torch.randn(5, 40), torch.arange(5)), credit.Rand(0))
    given = {"name": name, **hyperparameters.check(METHODS.module(name), {"steps": 4, **hyper}, name)}
    run = Run({"kind": "dense", "hidden_sizes": sizes[1:-1], "bias": True}, (40,), 10, given, 5, 5, 3, 1, 4)
    assert formula(name)(run).operations == pytest.approx(counter.get_total_flops(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        *((name, {}) for name in SETTLED),
        ("almeida_pineda", {"adjoint": "exact"}),
        ("any_energy", {"connectivity": "recurrent"}),
    ],
)
def test_weights_that_a_net_lacks_get_no_gradient(name, hyper):
    kinds = ["full", "diagonal", "full"]
    net = credit.dense([4, 3, 3, 2], "tanh", loss="half_squared_error", connections=kinds)
    params, rule = net.init(credit.Rand(SEEDS, dtype=torch.float64)), credit.method(name, steps=5, **hyper)
    opt = rule.optimizer(net, params, {}, {"name": "sgd", "lr": 0.1})
    before = copy.deepcopy(params)
    params, _, _, info = rule.update(net, params, opt, {}, small_batch(net, SEEDS), None)
    off = ~torch.eye(3, dtype=torch.bool)
    for tree in (info["gradients"], params):
        assert (tree["1"]["weight"][:, off] == 0).all()
        assert (tree["1"]["weight"][:, ~off] != 0).all()
    assert (params["0"]["weight"] != before["0"]["weight"]).any()
