"""What a net says of its parameters, and the reverse of its blocks."""

from __future__ import annotations

import ast

import pytest
import torch

import credit
from credit.provenance.sources import Sources
from tests.conftest import small_net

SOURCES = Sources()
FIRST_LAYER_ITSELF = {"credit.methods.online.chunks", "credit.tasks.regression"}  # take its weights, ask for no axis


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize(("seeds", "lead"), [(0, ()), ([0], (1,)), ([4, 4, 7], (3,))])
def test_a_net_tells_the_stack_axis_from_its_parameters(kind, seeds, lead):
    net = small_net(kind)
    params = net.init(credit.Rand(seeds, dtype=torch.float64))
    assert net.lead(params) == lead
    assert (net.stacked(params), net.members(params)) == (bool(lead), sum(lead))
    assert net.like(params).dtype == torch.float64
    rand = net.rand(params, 5)
    assert rand.normal("x", (2,)).shape == (*lead, 2) and rand.dtype == torch.float64
    assert rand.seeds == ([5 + m for m in range(len(seeds))] if lead else [5])
    assert net.rand(params, rand) is rand


def test_draws_that_are_given_must_fit_the_stack():
    net = small_net("conv")
    params = net.init(credit.Rand([1, 2]))
    given = torch.randn(2, 3)
    assert torch.equal(net.rand(params, {"x": given}).normal("x", (3,)), given)
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\)"):
        net.rand(params, {"x": given[0]}).normal("x", (3,))


def test_the_stack_axis_is_asked_for_in_one_place():
    found = set()
    for module, path in SOURCES.modules.items():
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Subscript) and ast.unparse(node).endswith("params['0']['weight']"):
                found.add(module)
    assert found <= FIRST_LAYER_ITSELF
