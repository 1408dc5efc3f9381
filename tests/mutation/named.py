"""Faults that no edit of one expression makes: options ignored, calls too late or left out, a stack taken for one net.

They have been put in by hand where tests once did not notice them, and stay as a list.
"""

from __future__ import annotations

from pathlib import Path

from tests.mutation.faults import Fault

SRC = Path("src/credit")
M = SRC / "methods"
FAULTS = [  # (rule or wing, what is wrong, file, text that stands there once, text in its place)
    ("di", "leak 0 where unstable feedback is moved", M / "di.py",
     "np.asarray(self.leak), tuple(unstable.shape)", "np.asarray(0.0), tuple(unstable.shape)"),
    ("di", "leak 0 where stability is judged", M / "di.py",
     "lambda_max(weight, b, self.leak) > rounding", "lambda_max(weight, b, 0.0) > rounding"),
    ("di", "leak of the first member for all", M / "di.py",
     "np.asarray(self.leak), tuple(unstable.shape)", "np.ravel(self.leak)[:1], tuple(unstable.shape)"),
    ("di", "stable members are moved too", M / "di.py",
     "b[unstable] = stabilize(weight[unstable], b[unstable], leak, self.descent)[0]",
     "b[:] = stabilize(weight, b, np.ravel(leak)[0], self.descent)[0]"),
    ("inversion/", "re-stabilised before the step", M / "inversion/rule.py",
     "        params, opt, state, info = super().update(net, params, opt, state, batch, rand)\n"
     "        return params, opt, state, info | _as_sums(self.after_step(params, state))",
     "        sums = self.after_step(params, state)\n"
     "        params, opt, state, info = super().update(net, params, opt, state, batch, rand)\n"
     "        return params, opt, state, info | _as_sums(sums)"),
    ("inversion/", "not re-stabilised in chunks", M / "inversion/rule.py",
     "self._deltas(net, params, state, t, e), after, carry", "self._deltas(net, params, state, t, e), None, carry"),
    ("inversion/", "re-stabilised once a chunk", M / "inversion/rule.py",
     "lambda t, e: self._deltas(net, params, state, t, e), after, carry\n        )",
     "lambda t, e: self._deltas(net, params, state, t, e), None, carry\n        )\n        after()"),
    ("inversion/", "ssa_min_steps ignored", M / "inversion/rule.py",
     "Descent(self.ssa_lr, self.ssa_steps, self.ssa_min_steps)", "Descent(self.ssa_lr, self.ssa_steps, 0)"),
    ("inversion/", "ssa_steps ignored", M / "inversion/rule.py",
     "Descent(self.ssa_lr, self.ssa_steps, self.ssa_min_steps)", "Descent(self.ssa_lr, 200, self.ssa_min_steps)"),
    ("inversion/", "feedback_scale of the first member for all", M / "inversion/rule.py",
     "return scaled(b, self.feedback_scale)", "return b * (self.feedback_scale if isinstance(self.feedback_scale, "
     "float) else self.feedback_scale[0])"),
    ("inversion/", "limit of the first member for all", M / "inversion/rule.py",
     "delta * (member(self.clip, delta) / norm)",
     "delta * ((self.clip if isinstance(self.clip, float) else self.clip[0]) / norm)"),
    ("inversion/", "the first mini-batch is not skipped", M / "inversion/rule.py",
     'first = int(state["updates"]) == 0', 'first = int(state["updates"]) < 0'),
    ("inversion/", "a batch's clip in the place of a sample's", M / "inversion/rule.py",
     "torch.linalg.vector_norm(delta, dim=-1, keepdim=True)",
     "torch.linalg.vector_norm(delta, dim=(-2, -1), keepdim=True)"),
    ("inversion/", "error per image in the place of per pixel", SRC / "tasks/images.py",
     'get_loss("mse").value(output, y) * y.shape[1]', 'get_loss("mse").value(output, y) * y.shape[1] * y.shape[-1]'),
    ("inversion/", "divided before the mean is taken off", SRC / "tasks/pixels.py",
     "images.sub_(_channels(mean, images)).div_(_channels(std, images))",
     "images.div_(_channels(std, images)).sub_(_channels(mean, images))"),
    ("inversion/", "mean and deviation of grey levels not yet scaled", SRC / "tasks/pixels.py",
     "context.dtype, copy=True).div_(scale)\n    return images.sub_(_channels(mean, images))",
     "context.dtype, copy=True)\n    return images.sub_(_channels(mean, images)).div_(scale)"),
    ("modulation/", "filters never move", M / "pepita.py",
     "if self.freeze_conv and delta.ndim > deltas[-1].ndim:", "if delta.ndim > deltas[-1].ndim:"),
    ("modulation/", "projection_scale of the first member for all", M / "modulation/passes.py",
     'fan_from=(net.n_out, n_in)), scale)',
     'fan_from=(net.n_out, n_in)), scale if isinstance(scale, float) else scale[0])'),
    ("modulation/", "the first member's projection for all", M / "modulation/passes.py",
     "add_product(start.input, signal, self.projection.mT)",
     "add_product(start.input, signal, (self.projection[:1].expand_as(self.projection) "
     "if self.projection.ndim > 2 else self.projection).mT)"),
    ("modulation/", "the modulated pass has no dropout", M / "modulation/passes.py",
     "trace, [b.mask for b in self.first.blocks])", "trace, [None for b in self.first.blocks])"),
    ("control/", "each gradient of Q clipped by itself", M / "control/rule.py",
     "gradients = clip_jointly(gradients, self.feedback.clip_norm, net.stacked(params))",
     "gradients = [clip_jointly([g], self.feedback.clip_norm, net.stacked(params))[0] for g in gradients]"),
    ("control/", "gradients of Q are not clipped", M / "control/rule.py",
     "gradients = clip_jointly(gradients, self.feedback.clip_norm, net.stacked(params))", "pass"),
    ("control/", "the output's gradient not in the joint norm", M / "control/rule.py",
     "gradients = clip_jointly(gradients, self.feedback.clip_norm, net.stacked(params))",
     "gradients = [*clip_jointly(gradients[:-1], self.feedback.clip_norm, net.stacked(params)), gradients[-1]]"),
    ("control/", "the homeostatic constant is ignored", M / "control/rule.py",
     'excess = learning.squared_norm(feedback) - state["homeostatic"]', "excess = learning.squared_norm(feedback)"),
    ("control/", "noise one step late", M / "control/controller.py",
     "v + xi.select(-3, t)", "v + xi.select(-3, max(t - 1, 0))"),
    ("control/", "noise one step late in the large engine", M / "control/loops/wide.py",
     "xi, gain = draws[whose[m], t, b], gains[m]", "xi, gain = draws[whose[m], max(t - 1, 0), b], gains[m]"),
    ("control/", "the first member's gain in the large engine", M / "control/loops/wide.py",
     "xi, gain = draws[whose[m], t, b], gains[m]", "xi, gain = draws[whose[m], t, b], gains[0]"),
    ("control/", "the first member's leak in the large engine", M / "control/loops/wide.py",
     "alpha, k_p, dt = settings[m, 0], settings[m, 1], settings[m, 2]",
     "alpha, k_p, dt = settings[0, 0], settings[m, 1], settings[m, 2]"),
    ("control/", "the first member's constants in the small engine", M / "control/loops/small.py",
     "alpha, k_p, dt, soma_gain, apical_gain = settings[m]", "alpha, k_p, dt, soma_gain, apical_gain = settings[0]"),
    ("control/", "basal voltages of the step before", M / "control/controller.py",
     "basal.append(frame.basal(i, below if controller.instant else before[i - 1]))",
     "basal.append(frame.basal(i, before[i - 1]))"),
    ("control/", "diverged at a tenth of the residual", M / "control/controller.py",
     "RESIDUAL_DIVERGED = 1.0", "RESIDUAL_DIVERGED = 0.1"),
    ("dfa", "target step size of the first member for all", SRC / "optim/clipping.py",
     "gradients = scaled_all(scaled_all(gradients, factor), target_stepsize)",
     "gradients = scaled_all(scaled_all(gradients, factor), target_stepsize if isinstance(target_stepsize, float) "
     "else target_stepsize[0])"),
    ("mn", "slope twice in the Jacobian", SRC / "nets/jacobian.py",
     "jacobian = product.mul_(slopes[i].unsqueeze(-2))", "jacobian = product.mul_(slopes[i].unsqueeze(-2) ** 2)"),
    ("targets/", "noise of the first block for all", M / "targets/rule.py",
     'len(state["feedback"]), self.name)[i - 1]', 'len(state["feedback"]), self.name)[0]'),
    ("targets/", "one iteration for all blocks", M / "targets/rule.py",
     "for _ in range(n):", "for _ in range(min(n, 1)):"),
    ("targets/", "targets from the feedback before its steps", M / "targets/rule.py",
     "        losses = self.learn_feedback(net, params, opt, state, chain, net.rand(params, rand), iterate)\n"
     "        step = self._step(net, params, state, batch, run, chain)",
     "        step = self._step(net, params, state, batch, run, chain)\n"
     "        losses = self.learn_feedback(net, params, opt, state, chain, net.rand(params, rand), iterate)"),
    ("targets/", "nudging of the first member for all", M / "targets/rule.py",
     "delta = -scaled(run.error, self.beta)",
     "delta = -run.error * (self.beta if isinstance(self.beta, float) else self.beta[0])"),
    ("tp", "targets with the difference correction", M / "tp.py",
     "return link.feedback(params, above, link.route, link.trace)", "return link.below + link.moved(params, above)"),
]  # fmt: skip


def named(root: Path, concern: str) -> list[Fault]:
    """The faults of a rule or wing. Raises AssertionError where the text of one does not stand in its file once."""
    found = []
    for _, kind, path, before, after in (entry for entry in FAULTS if entry[0] == concern):
        source = (root / path).read_text(encoding="utf-8")
        assert source.count(before) == 1, f"{path}: {source.count(before)} times {before!r}"
        start = source.index(before)
        line = source.count("\n", 0, start) + 1
        found.append(Fault(kind, path, line, len(source[:start].encode()), before, after))
    return found
