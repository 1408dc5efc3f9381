"""How well the feedback weights of Deep Feedback Control fit the network: condition 2, and angles to known optima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.jacobian import output_jacobian
from credit.numerics.finite import finite_parts
from credit.probes.angles import vector_angle
from credit.probes.base import Moment


def condition_two(jacobian: Tensor, feedback: Tensor) -> Tensor:
    """|P Q|_F / |Q|_F of every sample, (M, B), P the projection onto the row space of J; 1 where the condition holds.

    jacobian: J (M, B, n_L, N). feedback: Q (M, N, n_L). With C the Cholesky factor of J J^T this is |C^-1 J Q| / |Q|.
    NaN for samples whose J J^T is not positive definite. Source: Meulemans et al. 2021.
    """
    factor = torch.linalg.cholesky_ex(jacobian @ jacobian.mT)
    gain = (jacobian.flatten(-3, -2) @ feedback).unflatten(-2, jacobian.shape[-3:-1])
    inside = torch.linalg.solve_triangular(factor.L, gain, upper=False)
    ratio = torch.linalg.matrix_norm(inside) / torch.linalg.matrix_norm(feedback).unsqueeze(-1)
    return torch.where(factor.info == 0, ratio, torch.nan)


def transpose_angle(jacobian: Tensor, feedback: Tensor) -> Tensor:
    """Angle between J^T of every sample and Q, (M, B) degrees; shapes as in `condition_two`."""
    return _angle(jacobian.mT, feedback)


def pseudoinverse_angle(jacobian: Tensor, feedback: Tensor, damping: float) -> Tensor:
    """Angle between J^T (J J^T + damping I)^-1 of every sample and Q, (M, B) degrees; damping 0: the pseudoinverse.

    NaN for samples whose J is not finite.
    """
    finite, jacobian = finite_parts(jacobian)
    if damping == 0:
        inverse = torch.linalg.pinv(jacobian)
    else:
        gram = jacobian @ jacobian.mT
        gram.diagonal(dim1=-2, dim2=-1).add_(damping)
        inverse = torch.linalg.solve_ex(gram, jacobian).result.mT
    return _angle(torch.where(finite, inverse, torch.nan), feedback)


def _angle(one_per_sample: Tensor, feedback: Tensor) -> Tensor:
    return vector_angle(one_per_sample.flatten(-2), feedback.flatten(-2).unsqueeze(-2))


def jacobian_and_feedback(moment: Moment, probe: str) -> tuple[list[Tensor], list[Tensor]]:
    """J_i (M, B, n_L, n_i) before the update and Q_i (M, n_i, n_L) after it, by layer.

    Raises ConfigError for learning rules without direct feedback to every layer.
    """
    feedback = moment.state_after.get("feedback", {})
    layers = [str(i) for i in range(len(moment.net))]
    shapes = [(b.n_out, moment.net.n_out) for b in moment.net.blocks]
    if [tuple(feedback[i].shape[-2:]) for i in layers if i in feedback] != shapes:
        name = type(moment.method).__module__.rpartition(".")[2]
        raise ConfigError(f"probe {probe} needs direct feedback to every layer, as DFC has; {name} has other feedback")
    jacobian = output_jacobian(moment.net, moment.params, moment.info["trace"])
    return jacobian, [feedback[i] for i in layers]


@dataclass(frozen=True)
class FeedbackAlignment:
    """Batch means of condition2, angle_feedback_transpose and, for every damping g, angle_feedback_pinv_g.

    dampings: of the pseudoinverse. Q is taken after the update, J before it: on "pretrain" or "feedback_pass" this is
    what the paper shows for learned feedback, on "update" for fixed feedback.
    """

    metrics: ClassVar[tuple[str, ...]] = ("condition2", "angle_feedback_transpose", "angle_feedback_pinv_{dampings}")
    needs: ClassVar[str] = "credit.methods.control.rule.DeepFeedbackControl"

    dampings: Annotated[tuple[float, ...], ">= 0"] = (0.1,)

    def measure(self, moment: Moment) -> list[tuple[str, str, Tensor]]:
        """[(metric, "", values (M,))]. Raises ConfigError without direct feedback to every layer."""
        jacobian, feedback = jacobian_and_feedback(moment, "feedback_alignment")
        j, q = torch.cat(jacobian, -1), torch.cat(feedback, -2)
        rows = {"condition2": condition_two(j, q), "angle_feedback_transpose": transpose_angle(j, q)}
        for damping in self.dampings:
            rows[f"angle_feedback_pinv_{damping:g}"] = pseudoinverse_angle(j, q, damping)
        return [(name, "", torch.atleast_1d(values.mean(-1))) for name, values in rows.items()]


part = FeedbackAlignment
