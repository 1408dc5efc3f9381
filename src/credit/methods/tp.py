"""Target propagation without the difference correction, as in the code of Ernoult et al. (ICML 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from credit.methods.targets.chain import Link
from credit.methods.targets.denoising import Denoising


@dataclass(frozen=True)
class PlainTargetPropagation(Denoising):
    """Feedback blocks learn as in `dtp`; targets are t^{i-1} = G_i(t^i)."""

    def target(self, link: Link, params: dict[str, Tensor], above: Tensor) -> Tensor:
        return link.feedback(params, above, link.route, link.trace)


part = PlainTargetPropagation
