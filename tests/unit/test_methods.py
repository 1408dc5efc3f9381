"""The contract that every learning rule keeps; a new rule is tested by existing."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch

import credit
from credit.config import hyperparameters
from credit.config.parts import METHODS
from credit.errors import ConfigError
from credit.methods.base import Method
from tests.conftest import small_batch, small_net, small_net_for

SEEDS = [3, 8]
CASES = [
    (name, kind)
    for name in METHODS.names()
    for kind in hyperparameters.constants(METHODS.module(name)).get("nets", ("dense",))
]
# Two forward passes, and targets that are reconstructions, hardly assign credit to the first of three layers: the loss
# falls, but not as far.
FAINT = {(name, "conv") for name in ("pepita", "pepita_conv", "pepita_conv_corrected", "pepita_sign", "tp")}
FAINT |= {("tp", "resnet")}
UNSCALED = {("hopfield", "dense")}  # outputs grow for as long as they relax; what falls is the number of wrong answers
every_rule = pytest.mark.parametrize(("name", "kind"), CASES)
SINGLE = [
    (name, kind) for name, kind in CASES if hyperparameters.constants(METHODS.module(name)).get("single_step", True)
]
every_single_step_rule = pytest.mark.parametrize(("name", "kind"), SINGLE)


def start(name, kind, seeds, loss="softmax_cross_entropy", **hyper):
    net, rule = small_net_for(name, kind, loss), credit.method(name, **hyper)
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, "xavier_normal")
    return net, rule, rand, params, rule.init(net, params, rand)


def member(tree, m):
    return {k: member(v, m) for k, v in tree.items()} if isinstance(tree, dict) else tree[m]


def leaves(tree):
    return [x for v in tree.values() for x in leaves(v)] if isinstance(tree, dict) else [tree]


@pytest.mark.parametrize("name", METHODS.names())
def test_the_functions_of_all_passes_are_declared_and_take_what_update_takes(name):
    rule = credit.method(name)
    assert {item.update for phase in rule.phases(3) for item in phase.passes} <= set(rule.pass_functions)
    assert rule.pass_functions == hyperparameters.constants(METHODS.module(name))["pass_functions"]
    for function in rule.pass_functions:
        found = inspect.signature(getattr(rule, function)).parameters
        assert list(found) == ["net", "params", "opt", "state", "batch", "rand"]


@every_rule
def test_a_rule_says_whether_it_keeps_a_state(name, kind):
    *_, rule, _, _, state = start(name, kind, SEEDS)
    assert rule.keeps_state == hyperparameters.constants(METHODS.module(name))["keeps_state"]
    assert rule.keeps_state or state == {}
    assert rule.keeps_state == (type(rule).init is not Method.init)


@every_single_step_rule
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_gradients_have_the_shapes_of_the_parameters(name, kind, loss):
    net, rule, rand, params, state = start(name, kind, SEEDS, loss)
    step = rule.gradients(net, params, state, small_batch(net, SEEDS), rand)
    assert step.gradients
    for block, tensors in step.gradients.items():
        assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in params[block].items()}
    assert all(t.isfinite().all() and t.dtype == torch.float64 for t in leaves(step.gradients))
    assert step.info["output"].shape == (2, 9, 4)
    assert step.info["loss"].shape == (2,)


@every_single_step_rule
def test_a_stack_computes_what_its_members_compute_alone(name, kind):
    net, rule, rand, params, state = start(name, kind, SEEDS)
    together = rule.gradients(net, params, state, small_batch(net, SEEDS), rand).gradients
    for m, seed in enumerate(SEEDS):
        net, rule, rand, params, state = start(name, kind, seed)
        alone = rule.gradients(net, params, state, small_batch(net, seed), rand).gradients
        for a, b in zip(leaves(member(together, m)), leaves(alone), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@every_single_step_rule
def test_the_same_inputs_give_the_same_bits(name, kind):
    results = []
    for _ in range(2):
        net, rule, rand, params, state = start(name, kind, SEEDS)
        results.append(leaves(rule.gradients(net, params, state, small_batch(net, SEEDS), rand).gradients))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@every_single_step_rule
def test_gradients_change_none_of_their_inputs(name, kind):
    net, rule, rand, params, state = start(name, kind, SEEDS)
    batch = small_batch(net, SEEDS)
    before = copy.deepcopy((params, state, batch))
    rule.gradients(net, params, state, batch, rand)
    assert all(torch.equal(a, b) for a, b in zip(leaves(before[0]), leaves(params), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(leaves(before[1]), leaves(state), strict=True))
    assert torch.equal(before[2].x, batch.x)
    assert torch.equal(before[2].y, batch.y)


@every_single_step_rule
def test_the_last_layer_follows_backpropagation_where_the_rule_says_so(name, kind):
    net, rule, rand, params, state = start(name, kind, SEEDS)
    if not rule.exact_output:
        pytest.skip("the rule says that it differs")
    batch = small_batch(net, SEEDS)
    ours = rule.gradients(net, params, state, batch, rand).gradients
    exact = credit.method("bp").gradients(net, params, {}, batch, rand).gradients
    last = str(len(net) - 1)
    for a, b in zip(leaves(ours[last]), leaves(exact[last]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@every_single_step_rule
def test_update_is_gradients_and_one_step_of_the_optimiser(name, kind):
    net, rule, rand, params, state = start(name, kind, SEEDS)
    batch, settings = small_batch(net, SEEDS), {"name": "sgd", "lr": 0.1}
    gradients = rule.gradients(net, params, state, batch, credit.Rand(SEEDS, dtype=torch.float64)).gradients
    expected = copy.deepcopy(params)
    for block, tensors in gradients.items():
        for n, g in tensors.items():
            expected[block][n] -= 0.1 * g
    opt = rule.optimizer(net, params, state, settings)
    after, _, _, info = rule.update(net, params, opt, state, batch, rand)
    for a, b in zip(leaves(after), leaves(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert "gradients" in info


@every_rule
def test_every_rule_learns_a_separable_toy_task(name, kind):
    net, rule, rand, params, state = start(name, kind, [0, 1])
    x = rand.normal("toy.x", (60, *net.shape_in))
    directions = rand.normal("toy.directions", (4, *net.shape_in)).flatten(2)
    batch = credit.Batch(x, (x.flatten(2) @ directions.mT).argmax(-1))
    opt = rule.optimizer(net, params, state, {"name": "adam", "lr": 0.02})
    losses = []
    for _ in range(200):
        params, opt, state, info = rule.update(net, params, opt, state, batch, rand)
        wrong = net.loss.error_count(info["output"], batch.y) / 60
        losses.append(wrong if (name, kind) in UNSCALED else info["loss"])
    limit = 0.96 if (name, kind) in FAINT else 1.0 if (name, kind) in UNSCALED else 0.9
    assert (losses[-1] < limit * losses[0]).all()


@every_single_step_rule
def test_output_weights_of_zero_silence_a_sample(name, kind):
    net, rule, rand, params, state = start(name, kind, SEEDS, "mse")
    batch = small_batch(net, SEEDS)
    weights = torch.ones(2, 9, 4, dtype=torch.float64)
    weights[:, 4] = 0
    step = rule.gradients(net, params, state, credit.Batch(batch.x, batch.y, weights), rand)
    assert (step.info["error"][:, 4] == 0).all()
    other = batch.y.clone()
    other[:, 4] = (other[:, 4] + 1) % 4
    net, rule, rand, params, state = start(name, kind, SEEDS, "mse")
    again = rule.gradients(net, params, state, credit.Batch(batch.x, other, weights), rand)
    assert all(map(torch.equal, leaves(step.gradients), leaves(again.gradients)))


@pytest.mark.parametrize("name", [n for n in METHODS.names() if (n, "conv") not in CASES])
def test_a_rule_refuses_a_net_that_it_is_not_defined_for(name):
    net, rule = small_net("conv"), credit.method(name)
    with pytest.raises(ValueError, match=f"{name} is not defined for a conv net"):
        rule.check_net(net)


@every_single_step_rule
def test_a_wrong_input_shape_is_named(name, kind):
    net, rule, rand, params, state = start(name, kind, SEEDS)
    wrong = credit.Batch(torch.zeros(2, 9, 3, dtype=torch.float64), torch.zeros(2, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"input has shape \(2, 9, 3\)"):
        rule.gradients(net, params, state, wrong, rand)


@every_single_step_rule
def test_randomness_may_be_a_seed_or_nothing(name, kind):
    net, rule = small_net_for(name, kind), credit.method(name)
    params = net.init(seed=0, scheme="xavier_normal", dtype=torch.float64)
    batch = small_batch(net, 1)
    by_seed = [rule.gradients(net, params, rule.init(net, params, 7), batch, None).gradients for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*map(leaves, by_seed), strict=True))
    assert all(t.dtype == torch.float64 for t in leaves(by_seed[0]))


@pytest.mark.parametrize("name", ["fa", "dfa", "drtp"])
def test_feedback_weights_may_be_given_as_tensors(name):
    net, rule = small_net("dense"), credit.method(name)
    params = net.init(seed=0, dtype=torch.float64)
    shapes = {"fa": {1: (5, 7), 2: (4, 5)}}.get(name, {0: (7, 4), 1: (5, 4)})
    given = {f"feedback.{i}": torch.randn(s, dtype=torch.float64) for i, s in shapes.items()}
    rule = credit.method(name, feedback={"name": "normal", "std": 1.0})
    state = rule.init(net, params, given)
    for i in shapes:
        assert torch.equal(state["feedback"][str(i)], given[f"feedback.{i}"])


def test_an_unknown_rule_is_named_with_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'drtp'"):
        credit.method("drptp")


def test_an_unknown_hyperparameter_is_named():
    with pytest.raises(ConfigError, match="feedback_scale"):
        credit.method("fa", feedback_scales=2.0)


def test_a_hyperparameter_out_of_bounds_is_named():
    with pytest.raises(ConfigError, match=r"feedback_scale.*> 0"):
        credit.method("dfa", feedback_scale=-1.0)


def named(known, before=()):
    """Paths of the fields that name an initialisation, also within groups."""
    for field in known.values():
        if any(t.names and t.names.endswith("options") for t in field.types):
            yield (*before, field.name)
        yield from named(field.group.fields, (*before, field.name)) if field.group else ()


SCHEMES = [(n, path) for n in METHODS.names() for path in named(hyperparameters.fields(METHODS.module(n)))]
DFC = ("dfc", "dfc_ss", "dfc_ssa")


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("xavier_norml", "= 'xavier_norml' (did you mean 'xavier_normal'?); must be one of: "),
        ({"name": "xavier_norml"}, ".name = 'xavier_norml' (did you mean 'xavier_normal'?); must be one of: "),
        (
            {"name": "xavier_normal", "gian": 2},
            ".gian = 2 (did you mean 'gain'?); scheme 'xavier_normal' has the options",
        ),
        ({"name": "xavier_normal", "bias": 0.1}, ".bias = 0.1; scheme 'xavier_normal' has the options: gain"),
        ({"name": "normal"}, ".std is missing; scheme 'normal' needs a number >= 0"),
        ({"name": "normal", "std": [0.1, 0.2]}, ".std = [0.1, 0.2]; must be a finite number >= 0"),
        ({}, ".name is missing; must be one of: "),
    ],
)
@pytest.mark.parametrize(("name", "path"), SCHEMES)
def test_an_unknown_initialisation_is_named_in_one_line(name, path, scheme, message):
    hyper = scheme
    for key in reversed(path):
        hyper = {key: hyper}
    with pytest.raises(ConfigError) as caught:
        credit.method(name, **hyper)
    place = ".".join((name, *path))
    assert str(caught.value).startswith(f"{place}{'' if message[0] == '.' else ' '}{message}")
    assert "\n" not in str(caught.value)


def test_rules_of_every_family_name_initialisations():
    assert {"fa", "dfa", "drtp", "pepita", "pepita_conv", "ndi", "di", "sdi", "di_fa", *DFC} <= {n for n, _ in SCHEMES}
    assert {path for name, path in SCHEMES if name in DFC} == {("feedback", "init")}


def test_a_bare_initialisation_is_named_as_it_was_given():
    with pytest.raises(ConfigError, match=r"^dfc.feedback = 'xavier_norml' \(did you mean 'xavier_normal'\?\); must"):
        credit.method("dfc", feedback="xavier_norml")


@pytest.mark.parametrize("name", DFC)
def test_the_noise_of_a_weight_product_is_spelled_as_it_is(name):
    with pytest.raises(ConfigError, match=rf"{name}.feedback.init.nois = 0.1 \(did you mean 'noise'\?\)"):
        credit.method(name, feedback={"init": {"name": "weight_product", "nois": 0.1}})


@pytest.mark.parametrize("name", DFC)
def test_groups_may_be_given_bare_as_mappings_or_as_instances(name):
    rule = credit.method(name, feedback={"init": "zeros", "lr": 1})
    assert (rule.feedback.init, rule.feedback.lr, rule.feedback.k_p) == ("zeros", 1.0, 0.1)
    assert credit.method(name, feedback="zeros") == credit.method(name, feedback={"init": "zeros"})
    assert credit.method(name, feedback=rule.feedback) == rule
    assert type(rule)(**vars(rule)) == rule
    assert type(rule)(feedback="zeros").feedback.init == "zeros"


@pytest.mark.parametrize("keep", [0, 0.0, 1.2, -0.5, float("nan"), True])
def test_a_net_keeps_between_none_and_all_of_its_units(keep):
    with pytest.raises(ConfigError, match=r"net.keep = .*; must be a number in \(0, 1\]"):
        credit.dense([4, 3, 2], keep=keep)


@every_rule
@pytest.mark.parametrize("seeds", [3, SEEDS])
def test_an_empty_mini_batch_is_named(name, kind, seeds):
    net, rule, rand, params, state = start(name, kind, seeds)
    opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
    batch = small_batch(net, seeds)
    empty = credit.Batch(batch.x.narrow(len(net.lead(params)), 0, 0), batch.y.narrow(len(net.lead(params)), 0, 0))
    for function in rule.pass_functions:
        with pytest.raises(ValueError, match="the mini-batch is empty"):
            getattr(rule, function)(net, params, opt, state, empty, rand)


def float_options(known, before=()):
    """Paths of the hyperparameters that may differ between the members of a stack."""
    for name, field in known.items():
        if field.group:
            yield from float_options(field.group.fields, (*before, name))
        elif "float" in {t.kind for t in field.types} and not any(t.repeated for t in field.types):
            yield (*before, name)


OPTIONS = [
    (name, path) for name in METHODS.names() for path in float_options(hyperparameters.fields(METHODS.module(name)))
]


WITH = {  # what an option needs beside it
    "momentum": {"optimizer": "sgd"}, "eps": {"optimizer": "adam"}, "homeostatic_norm": {"homeostatic": True},
}  # fmt: skip


def with_option(name, path, value):
    value = {path[-1]: value} | WITH.get(path[-1], {})
    for part in reversed(path[:-1]):
        value = {part: value}
    return credit.method(name, **value)


def default_of(rule, path):
    for part in path:
        rule = getattr(rule, part)
    return rule


@pytest.mark.parametrize(("name", "path"), OPTIONS)
def test_a_number_that_differs_between_members_acts_on_each_alone_or_is_refused(name, path):
    kind = next(kind for rule, kind in CASES if rule == name)
    value = default_of(credit.method(name), path)
    values = [0.5, 0.4] if not value else [0.5 * value, 0.4 * value]

    def trained(rule, seeds):
        rand = credit.Rand(seeds, dtype=torch.float64)
        net = small_net_for(name, kind)
        params = net.init(rand, "xavier_normal")
        state = rule.init(net, params, rand)
        opt = rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})
        for function in rule.pass_functions:
            which = {item.update for phase in rule.phases(1) for item in phase.passes}
            for step in range(2 if function in which else 0):
                batch = small_batch(net, seeds, stream=f"{function}.{step}")
                params, opt, state, _ = getattr(rule, function)(net, params, opt, state, batch, rand)
        return leaves(params) + leaves({i: v for i, v in state.items() if isinstance(v, dict)})

    try:
        rule = with_option(name, path, values)
    except ConfigError as error:
        assert str(error) == f"{name}.{'.'.join(path)} = {values}; must be one value for all members"
        return
    together = trained(rule, SEEDS)
    for m, seed in enumerate(SEEDS):
        for ours, alone in zip(together, trained(with_option(name, path, values[m]), seed), strict=True):
            torch.testing.assert_close(ours[m], alone, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("name", "path"), OPTIONS)
@pytest.mark.parametrize("seeds", [3, SEEDS])
def test_a_list_for_another_number_of_members_is_named_before_anything_is_trained(name, path, seeds):
    kind = next(kind for rule, kind in CASES if rule == name)
    if path[-1] in credit.method(name).one_for_all:
        pytest.skip("refused as a list")
    net, rule = small_net_for(name, kind), with_option(name, path, (0.5, 0.5, 0.5))
    rand = credit.Rand(seeds, dtype=torch.float64)
    params = net.init(rand, "xavier_normal")
    said = "or one for each of the 2 members" if rand.stacked else "must be one value"
    with pytest.raises(ConfigError, match=rf"^{name}.{'.'.join(path)} holds 3 values; .*{said}"):
        state = rule.init(net, params, rand)
        rule.optimizer(net, params, state, {"name": "sgd", "lr": 0.1})


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("ndi", "leak"), ("sdi", "leak"), ("di", "leak"), ("di_bp", "clip"), ("fa", "feedback_scale")),
        *(("dfa", "feedback_scale"), ("pepita", "projection_scale"), ("ldrl", "beta"), ("dfc", "alpha")),
    ],
)
def test_a_list_for_another_number_of_members_is_never_spread_over_units_or_samples(name, option):
    """9 samples, 7, 5 and 4 units, 2 members; in a stack of one as well."""
    for seeds in (SEEDS, [3]):
        for length in {2, 4, 5, 7, 9} - {len(seeds)}:
            net, rule = small_net("dense"), credit.method(name, **{option: [0.5] * length})
            rand = credit.Rand(seeds, dtype=torch.float64)
            params = net.init(rand, "xavier_normal")
            with pytest.raises(ConfigError, match=f"{name}.{option} holds {length} values"):
                rule.gradients(net, params, rule.init(net, params, rand), small_batch(net, seeds), rand)
