"""PEPITA, error-driven input modulation (Dellaferrera & Kreiman 2022): two forward passes and no backward pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from torch import Tensor

from credit.methods.base import Batch, Method, OptimizerLike, Result, State, Step, batch_size, redivided, with_loss
from credit.methods.fast import Fast
from credit.methods.modulation import fused
from credit.methods.modulation.passes import Modulation, draw_projection, last_sample
from credit.nets.base import Net, Trace, check_input
from credit.numerics.rand import Rand
from credit.numerics.trees import Params


@dataclass(frozen=True)
class Pepita(Method):
    """h from x, then h' from x + F e; gradients (h_l - h'_l) h'_{l-1}^T, in the last layer e' h'_{L-1}^T.

    e = y - t is the error of one sample at the output's pre-activation; F is random and fixed. Both passes share their
    dropout masks. The defaults are those of the code that made the published tables; the released programs differ,
    and have names of their own: pepita_numpy, pepita_torch, pepita_conv.

    projection, projection_scale: initialisation of F (n_0 x n_L) with fan-in n_0, and a factor on it.
    signal: what F carries to the input, the error or its sign.
    last_layer_error: of the modulated pass (e') or of the standard pass (e).
    mask_power: how often the dropout mask is in h_l - h'_l. 0 takes it out of h'_{l-1} as well. A mask after pooling is
    never in the difference, which is that of the activities before pooling.
    passes: forward passes for each sample; each is compared with the one before it, whose error it carries.
    pass_updates: beyond two passes, "together": one step for all; "as_released": one step for every pass after the
    first, of which the later ones hold the last sample of the batch alone, run with the weights just changed.
    conv_sign: of a convolution's gradient, "as_released" (opposite to the paper's rule) or "pepita".
    conv_positions: "mean" over the positions of an image, "sum", or "sqrt", the sum over the root of their number.
    conv_divisions: how often a convolution's gradient is divided by the batch size, twice as released or once.
    freeze_conv: convolutions are not trained. low_rank: see `credit.methods.modulation.passes`; changes rounding only.
    """

    nets: ClassVar[tuple[str, ...]] = ("dense", "conv")
    keeps_state: ClassVar[bool] = True
    exact_output: ClassVar[bool] = False

    projection: Annotated[str | dict, "credit.nets.names.options"] = "he_uniform"
    projection_scale: Annotated[float, "> 0"] = 0.05
    signal: Literal["error", "sign"] = "error"
    last_layer_error: Literal["second_pass", "first_pass"] = "second_pass"
    mask_power: Literal[0, 1, 2] = 2
    passes: Annotated[int, ">= 2"] = 2
    pass_updates: Literal["together", "as_released"] = "together"
    conv_sign: Literal["as_released", "pepita"] = "pepita"
    conv_positions: Literal["mean", "sqrt", "sum"] = "sum"
    conv_divisions: Literal[1, 2] = 1
    freeze_conv: bool = False
    low_rank: bool = True

    def passes_products(self) -> bool:
        return self.passes == 2  # of more passes, gradients are added

    def init(self, net: Net, params: Params, rand: Rand) -> State:
        """{"projection": F (M, n_0, n_L)}."""
        projection = draw_projection(net, net.rand(params, rand), self.projection, self.projection_scale)
        return {"projection": projection.to(net.like(params))}

    def gradients(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand) -> Step:
        """info: "passes", trace and error e of every pass; "modulated", the last trace; "deltas" of the last pass.

        The gradient of block i is that of deltas[i] (M, B, ...) with the block's modulated input.
        """
        return self._together(net, params, state, batch, rand, spare_last=False)

    def update(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, rand: Rand) -> Result:
        """One step; with more than two passes as released, one for each pass after the first."""
        if self.passes == 2 or self.pass_updates == "together":
            return super().update(net, params, opt, state, batch, rand)
        step = self._together(net, params, state, batch, rand, spare_last=True)
        opt.step(params, redivided(step.gradients, net, params, batch))
        n, axis = batch_size(net, params, batch), step.info["error"].ndim - 2
        standard, before = (last_sample(trace, axis) for trace, _ in step.info["passes"][:2])
        error, sample = last_sample(step.info["passes"][1][1], axis), last_sample(batch, axis)
        # The weights have changed, so the standard pass is good for its input and masks only.
        again = Modulation(net, params, state["projection"], standard)
        for _ in range(2, self.passes):
            after, new_error = self._modulated(net, again, error, sample)
            deltas = self._deltas(net, before, after, error, new_error, n)
            opt.step(params, redivided(self._products(net, after, deltas), net, params, batch))
            before, error = after, new_error
        return params, opt, state, step.info | {"gradients": step.gradients}

    def fast(self, net: Net, params: Params, opt: OptimizerLike, state: State, batch: Batch, batch_size: int, *,
             function: str = "update") -> Fast | None:  # fmt: skip
        """`update` of dense relu nets with dropout on the CPU in fewer passes over memory (see `fused`)."""
        if function != "update" or not fused.possible(self, net, params, opt, batch) or not fused.pays(net, batch):
            return None
        check_input(net, params, batch.x)
        return Fast(fused.Workspace(self, net, params, state["projection"], batch.x.shape[1]).update)

    def _together(self, net: Net, params: Params, state: State, batch: Batch, rand: Rand, spare_last: bool) -> Step:
        """All passes with the same weights. spare_last: from the third on, without the last sample of the batch."""
        check_input(net, params, batch.x)
        masks = net.masks(params, batch_size(net, params, batch), rand)
        again = Modulation.after_standard_pass(net, params, state["projection"], batch.x, masks, self.low_rank)
        run = with_loss(net, again.first, batch)
        passes = [(run.trace, self._error(net, run.trace, run.error))]
        gradients: Params = {}
        for _ in range(1, self.passes):
            before, error = passes[-1]
            after, new_error = self._modulated(net, again, error, batch)
            deltas = self._deltas(net, before, after, error, new_error, error.shape[-2])
            if spare_last and len(passes) > 1:
                for delta in deltas:
                    delta.select(error.ndim - 2, -1).zero_()
            for i, block in self._products(net, after, deltas).items():
                sums = gradients.setdefault(i, {})
                for name, g in block.items():
                    sums[name] = sums[name] + g if name in sums else g
            passes.append((after, new_error))
        return Step(gradients, run.info | {"passes": passes, "modulated": passes[-1][0], "deltas": deltas})

    def _modulated(self, net: Net, again: Modulation, error: Tensor, batch: Batch) -> tuple[Trace, Tensor]:
        """The pass that carries `error`, and its own error."""
        trace = again(error.sign() if self.signal == "sign" else error)
        weights = () if batch.weights is None else (batch.weights,)
        return trace, self._error(net, trace, net.loss.gradient(trace.output, batch.y, *weights))

    @staticmethod
    def _error(net: Net, trace: Trace, gradient: Tensor) -> Tensor:
        """e (M, B, n_L) of single samples, from the gradient of the batch's loss at the output."""
        error = net.block(len(net) - 1).local(trace.blocks[-1], gradient)
        return error if net.loss.summed else error * error.shape[-2]

    def _deltas(
        self, net: Net, before: Trace, after: Trace, error: Tensor, new_error: Tensor, n: int
    ) -> list[Tensor]:  # fmt: skip
        """What replaces the gradient at each pre-activation, divided by the batch size n and the learning passes."""
        share = 1 / ((1 if net.loss.summed else n) * (self.passes - 1))
        deltas = []
        for old, new in zip(before.blocks[:-1], after.blocks[:-1], strict=True):
            if new.act.ndim > error.ndim:
                deltas.append((old.act - new.act).mul_(share * self._conv_factor(new.act, n)))
                continue
            delta = (old.act - new.act).mul_(share)
            for _ in range(self.mask_power if new.mask is not None else 0):
                delta.mul_(new.mask)
            deltas.append(delta)
        return [*deltas, (new_error if self.last_layer_error == "second_pass" else error) * share]

    def _conv_factor(self, act: Tensor, n: int) -> float:
        positions = act.shape[-2] * act.shape[-1]
        factor = positions ** {"mean": -1, "sqrt": -0.5, "sum": 0}[self.conv_positions]
        return factor * (1 if self.conv_sign == "pepita" else -1) / n ** (self.conv_divisions - 1)

    def _products(self, net: Net, after: Trace, deltas: list[Tensor]) -> Params:
        """Products of the deltas with the modulated inputs, summed over the batch."""
        gradients = {}
        for i, (block, delta) in enumerate(zip(after.blocks, deltas, strict=True)):
            if self.freeze_conv and delta.ndim > deltas[-1].ndim:
                continue
            if i > 0 and self.mask_power == 0 and after.blocks[i - 1].mask is not None:
                below = after.blocks[i - 1]
                unmasked = net.block(i - 1).activate(below.input, below.pre).out
                block = replace(block, input=unmasked.reshape(block.input.shape))
            gradients[str(i)] = net.block(i).weight_gradient(block, delta)
        return gradients


part = Pepita
