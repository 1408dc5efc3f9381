"""What the rules of Podlaski & Machens (NeurIPS 2020) share: they differ in how a delta gets one layer down.

All of them descend along outer products of deltas and activities with the output's exact gradient. A delta is a
signal per sample: where the loss is a mean over the batch, its 1/B is taken out before the dynamics, which need not be
linear, and put back into the gradients.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from credit.methods.base import Batch, Method, OptimizerLike, Result, State, Step, forward
from credit.methods.fast import Fast, has_last_word
from credit.methods.inversion.feedback import initial
from credit.methods.inversion.stability import Descent
from credit.methods.online import chunks
from credit.methods.online.loops import Carry
from credit.nets.base import Net, Trace
from credit.numerics.rand import Rand
from credit.numerics.stack import member, scaled
from credit.numerics.trees import Params
from credit.optim.base import uniform
from credit.optim.clipping import unit

CARRIED = frozenset({"hidden_deltas", "after_step", "below", "slope", "feedback_of"})  # what a `carry` stands in for


@dataclass(frozen=True)
class Inversion(Method):
    """Base of the family. Options that the paper's experiments set differently:

    clip: largest norm of a hidden delta (10 in the linear regression, 1 in the nonlinear one). normalize: each
    tensor's gradient is divided by its norm (Fig. 3b). skip_first: the first mini-batch changes no weights
    (both regressions).
    """

    keeps_state: ClassVar[bool] = True

    clip: Annotated[float, "> 0"] | None = None
    normalize: bool = False
    skip_first: bool = False

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"updates": number of mini-batches seen} where the first one is skipped."""
        return {"updates": torch.zeros((), dtype=torch.int64)} if self.skip_first else {}

    def hidden_deltas(self, net: Net, params: Params, state: State, trace: Trace, delta: Tensor) -> list[Tensor]:
        """Deltas at the pre-activations of all blocks but the last, whose delta (M, B, n_L) is given."""
        raise NotImplementedError

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """info["deltas"]: by block, at the pre-activations and clipped, (M, B, n_i) with the 1/B of a mean."""
        self.check_net(net)
        run = forward(net, params, batch, rand)
        count = 1 if net.loss.summed else run.error.shape[-2]
        deltas = [d / count for d in self._deltas(net, params, state, run.trace, run.error * count)]
        gradients = {
            str(i): net.block(i).weight_gradient(step, delta)
            for i, (step, delta) in enumerate(zip(run.trace.blocks, deltas, strict=True))
        }
        if self.normalize:
            gradients = unit(gradients, net.stacked(params))
        return Step(gradients, run.info | {"deltas": deltas})

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """One optimiser step, but for the first mini-batch where `skip_first` is set."""
        if self.skip_first:
            first = int(state["updates"]) == 0
            state = {**state, "updates": state["updates"] + 1}
            if first:
                step = self.gradients(net, params, state, batch, rand)
                sums = self.after_step(params, state)
                return params, opt, state, step.info | {"gradients": step.gradients} | _as_sums(sums)
        params, opt, state, info = super().update(net, params, opt, state, batch, rand)
        return params, opt, state, info | _as_sums(self.after_step(params, state))

    def fast(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int, *,
             function: str = "update") -> Fast | None:  # fmt: skip
        """Online learning of nets with many inputs in chunks of samples (see `online.chunks`)."""
        waits = self.skip_first and int(state["updates"]) == 0
        if function != "update" or batch_size > 1 or self.normalize or waits:
            return None
        if not (chunks.possible(net, batch) and chunks.pays(net) and uniform(opt.affine(0))):
            return None
        self.check_net(net)
        return Fast(functools.partial(self._online, net), at_once=100)  # divides the intervals of online evaluations

    def _online(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        count, info = batch.x.shape[len(net.lead(params))], {}

        def after() -> None:
            for name, value in self.after_step(params, state).items():
                sums = info.setdefault("sums", {})
                sums[name] = sums[name] + value if name in sums else value

        whole = self.clip is None and has_last_word(type(self), "carry", CARRIED)
        carry = self.carry(state) if whole else None
        rates = opt.affine(count)
        losses = chunks.online(
            net, params, batch, rates, lambda t, e: self._deltas(net, params, state, t, e), after, carry
        )
        if "updates" in state:
            state = {**state, "updates": state["updates"] + count}
        return params, opt, state, info | {"loss": losses}

    def carry(self, state: State) -> Carry | None:
        """The rule in a net with one hidden layer, for the loop of `online.loops`; None: it has no such form.

        Only for rules without anything to `after_step`. One that inherits it and changes a function that it stands in
        for (`CARRIED`) is not asked.
        """
        return None

    def after_step(self, params: Params, state: State) -> dict[str, Tensor]:
        """What follows an optimiser step: may change `state` in place, looks at no weights of the first block.

        Returns sums to be recorded, (M,) each.
        """
        return {}

    def _deltas(self, net: Net, params: Params, state: State, trace: Trace, error: Tensor) -> list[Tensor]:
        """Deltas of all blocks from the error (M, B, n_L) of single samples; hidden ones clipped."""
        top = net.block(len(net) - 1).local(trace.blocks[-1], error)
        return [*(self._clipped(d) for d in self.hidden_deltas(net, params, state, trace, top)), top]

    def _clipped(self, delta: Tensor) -> Tensor:
        if self.clip is None:
            return delta
        norm = torch.linalg.vector_norm(delta, dim=-1, keepdim=True)
        return delta * (member(self.clip, delta) / norm).clamp(max=1)


@dataclass(frozen=True)
class LayerByLayer(Inversion):
    """Rules that carry the delta down one layer at a time.

    extra_slope: the delta of a hidden layer is multiplied by phi' once more, as the nonlinear regression's script does
    for all of these rules.
    """

    slope: ClassVar[bool] = True  # the delta is multiplied by phi' in the rule itself

    extra_slope: bool = False

    def below(self, weight: Tensor, feedback: Tensor | None, delta: Tensor) -> Tensor:
        """delta (M, B, n_up) one layer down, (M, B, n_low), before the slope."""
        raise NotImplementedError

    def hidden_deltas(self, net: Net, params: Params, state: State, trace: Trace, delta: Tensor) -> list[Tensor]:
        deltas: list[Tensor] = []
        for i in range(len(net) - 1, 0, -1):
            weight, block, step = params[str(i)]["weight"], net.block(i - 1), trace.blocks[i - 1]
            delta = self.below(weight, self.feedback_of(state, i, weight), delta)
            if self.slope:
                delta = block.local(step, delta)
            elif step.mask is not None:
                delta = delta * step.mask
            if self.extra_slope:
                delta = block.phi.backward(delta, step.pre, step.act)
            deltas.append(delta)
        return deltas[::-1]

    def feedback_of(self, state: State, i: int, weight: Tensor) -> Tensor | None:
        """Feedback weights (M, n_low, n_up) that deliver the delta of block i to the block below, if there are any."""
        return None


@dataclass(frozen=True)
class WithFeedback(Inversion):
    """Rules that keep feedback weights B_i (M, n_{i-1}, n_i) of every block but the first.

    feedback: its initialisation, see `credit.methods.inversion.feedback`. feedback_scale: factor on B.

    Of the descent that makes feedback stable (linear regression; the nonlinear one has 0.5, 2000, 100): ssa_lr: length
    of a step. ssa_steps: largest number of steps. ssa_min_steps: smallest number of steps.
    """

    excludes: ClassVar[str] = "credit.methods.inversion.names.exclusive"
    one_for_all: ClassVar[tuple[str, ...]] = ("ssa_lr",)

    feedback: Annotated[str | dict, "credit.methods.inversion.names.options"] = "neg_transpose"
    feedback_scale: Annotated[float, "> 0"] = 1.0
    ssa_lr: Annotated[float, "> 0"] = 0.05
    ssa_steps: Annotated[int, ">= 0"] = 200
    ssa_min_steps: Annotated[int, ">= 0"] = 10

    @property
    def descent(self) -> Descent:
        """Settings of `stabilize`."""
        return Descent(self.ssa_lr, self.ssa_steps, self.ssa_min_steps)

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"feedback": {block: B}}. Raises ConfigError when "optimized" finds no stable feedback."""
        rand = net.rand(params, rand)
        feedback = {str(i): self.drawn(params[str(i)]["weight"], rand, i) for i in range(1, len(net))}
        return super().init(net, params, rand) | {"feedback": feedback}

    def drawn(self, weight: Tensor, rand: Rand, block: int) -> Tensor:
        """Initial feedback (M, n_low, n_up) for a weight (M, n_up, n_low), scaled."""
        b = initial(self.feedback, weight, rand, block, self.descent, f"{self.name}.feedback")
        return scaled(b, self.feedback_scale)

    def feedback_of(self, state: State, i: int, weight: Tensor) -> Tensor:
        """B_i. Raises ValueError when it has not the shape of the transposed weight, (M, n_low, n_up)."""
        b = state["feedback"].get(str(i))
        expected = (*weight.shape[:-2], weight.shape[-1], weight.shape[-2])
        if b is None or tuple(b.shape) != expected:
            found = "is missing" if b is None else f"has shape {tuple(b.shape)}"
            raise ValueError(
                f"{self.name}: feedback of block {i} {found}; the weight {tuple(weight.shape)} needs {expected}"
            )
        return b


def _as_sums(sums: dict[str, Tensor]) -> dict[str, Any]:
    return {"sums": sums} if sums else {}
