"""The classes of this package against the protocols by which the others know them, and strangers that meet them."""

from __future__ import annotations

import ast
import inspect

import pytest
import torch

import credit
from credit.nets import losses
from credit.nets.base import Batch, Block, Layer
from credit.nets.losses import Loss
from credit.numerics.trees import clone
from credit.optim.base import OptimizerLike
from credit.optim.group import OptimizerGroup
from credit.provenance.sources import Sources
from credit.tasks.base import Context
from credit.tasks.base import Learner as LearnerOfTasks
from credit.tasks.regression import Regression
from credit.tasks.supervised import Split, Supervised
from credit.tasks.teacher import Teacher
from credit.training.learner import Learner
from tests.conftest import small_batch, small_net
from tests.unit.test_blocks import LAYERS, Shortcut


def arguments(function):
    return [(p.name, p.default, p.kind) for p in inspect.signature(function).parameters.values()]


def fits(thing, protocol):
    """Whether a class has all that a protocol names, with functions of its own that take the same arguments."""
    assert isinstance(thing, protocol)
    for name, member in inspect.getmembers(protocol, inspect.isfunction):
        if not name.startswith("_"):
            assert arguments(getattr(type(thing), name)) == arguments(member), f"{type(thing).__name__}.{name}"


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_what_the_protocols_say(name):
    fits(LAYERS[name], Layer)
    fits(LAYERS[name], Block)


def test_a_stage_is_a_block_and_no_layer():
    fits(Shortcut(3), Block)
    assert not isinstance(Shortcut(3), Layer)


@pytest.mark.parametrize("name", ["half_squared_error", "mse", "softmax_cross_entropy", "squared_error_sum"])
def test_losses_are_what_the_protocol_says(name):
    fits(losses.get(name), Loss)
    assert "value_and_gradient" in vars(type(losses.get(name)))


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_optimisers_and_groups_are_what_the_protocol_says(name):
    opt = credit.optimizer(name, lr=0.1)
    for one in (opt, opt.init(small_net("dense").init(0)), OptimizerGroup(opt, {"feedback": opt})):
        fits(one, OptimizerLike)


def test_the_learner_is_what_tasks_are_told():
    net = small_net("dense")
    fits(
        Learner(net, net.init(0), credit.method("bp"), credit.optimizer("sgd", lr=0.1), {}, credit.Rand([0])),
        LearnerOfTasks,
    )


class Stranger:
    """Gradient descent with nothing but what the protocol names."""

    takes_products = False

    def step(self, params, gradients, lr_scale=1.0):
        for i, block in gradients.items():
            for name, gradient in block.items():
                params[i][name].sub_(0.1 * lr_scale * gradient)

    def affine(self, steps):
        return None

    def set_epoch(self, epoch):
        pass

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize("name", ["bp", "fa", "dfa", "ndi", "pepita"])
def test_a_rule_steps_with_any_optimiser_that_fits_the_protocol(name):
    fits(Stranger(), OptimizerLike)
    net, rule, rand = small_net("dense", hidden="relu"), credit.method(name), credit.Rand([1, 2], dtype=torch.float64)
    params, batch, results = net.init(rand), small_batch(net, [1, 2]), []
    state = rule.init(net, params, rand)
    for opt in (credit.optimizer("sgd", lr=0.1).init(params), Stranger()):
        after = clone(params)
        rule.update(net, after, opt, clone(state), batch, rand)
        results.append(after)
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-14)
    assert not torch.equal(results[0]["0"]["weight"], params["0"]["weight"])


class Recorder:
    """A learner with nothing but what the protocol names; remembers how many samples it was handed."""

    def __init__(self, net, params):
        self.net, self.params, self.sizes = net, params, []

    def update(self, batch: Batch, learns=None) -> None:
        assert batch.x.shape[1] == batch.y.shape[1]
        self.sizes.append(batch.x.shape[1])

    def visit(self, order, take, batch_size, whose=None):
        for part in order.split(batch_size, 1):
            self.update(Batch(*take(part), whose=whose))

    def predict(self, x):
        return self.net.predict(self.params, x)

    def note(self, rows):
        raise AssertionError("these tasks measure nothing themselves")


@pytest.mark.parametrize("partial", ["own", "nominal", "carry"])
def test_a_task_asks_its_learner_for_nothing_else(partial):
    rand = credit.Rand([1, 2])
    split = Split(rand.normal("x", (10, 3)), rand.normal("y", (10, 2)), per_member=True)
    context = Context(rand, 2, torch.device("cpu"), torch.float32)
    tasks = [
        Supervised({"train": split, "test": split}, (3,), 2, 2, batch_size=4, partial=partial),
        Teacher(n_in=3, n_out=2, hidden_sizes=(4,), train=10, validation=5, test=5, batch_size=4).build(context),
        Regression(n_in=3, n_out=2, samples=10, batch_size=4).build(context),
    ]
    for task in tasks:
        net = credit.dense([3, 4, 2], loss="mse")
        learner = Recorder(net, net.init(rand))
        fits(learner, LearnerOfTasks)
        task.epoch(learner, rand)
        task.epoch(learner, rand)
        left = 0 if getattr(task, "waiting", None) is None else task.waiting.shape[1]
        assert sum(learner.sizes) == 20 - left and max(learner.sizes) <= 4 + left
        splits = ("train",) if isinstance(task, type(tasks[2])) else ("test",)
        assert all(value.shape == (2,) for value in task.evaluate(learner, net.loss, splits).values())


def test_no_function_takes_what_a_protocol_names_without_saying_so():
    untyped = [
        f"{module}, line {node.lineno}: {argument.arg}"
        for module, path in Sources().modules.items()
        if not module.startswith("credit.bench")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.arg in ("opt", "learner", "loss", "block") and argument.annotation is None
    ]
    assert not untyped
