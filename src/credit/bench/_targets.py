"""Difference target propagation as its official code computes it, and backpropagation, in plain PyTorch.

An iteration of the feedback runs the whole block through autograd: G three times, F once with noise and once more to
restore the indices of pooling (Ernoult et al., ICML 2022). A mini-batch passes the net twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from credit.nets.base import Net
from credit.nets.conv import Conv


class Forward(nn.Module):
    """A block: a convolution with ELU and pooling, or a fully connected layer, with ELU unless it is the last."""

    def __init__(self, layer) -> None:
        super().__init__()
        self.indices, self.shape = None, None
        if isinstance(layer, Conv):
            self.map = nn.Conv2d(layer.shape_in[0], layer.channels, layer.kernel, padding=layer.padding)
            self.pool = nn.MaxPool2d(layer.pool.size, layer.pool.stride, layer.pool.padding, return_indices=True)
        else:
            self.map, self.pool = nn.Linear(layer.n_in, layer.n_out), None
        self.rho = nn.ELU() if layer.activation == "elu" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, ...)."""
        if self.pool is None:
            return self.rho(self.map(x.flatten(1)))
        before = self.rho(self.map(x))
        self.shape = before.shape
        out, self.indices = self.pool(before)
        return out


class Back(nn.Module):
    """The block turned round, which unpools with the indices of the block's last pass."""

    def __init__(self, block: Forward, layer, below: torch.Size) -> None:
        super().__init__()
        self.below, self.rho, self.unpool = below, block.rho, None
        self.block = [block]  # no module of this one
        if block.pool is None:
            self.map = nn.Linear(layer.n_out, layer.n_in)
        else:
            self.map = nn.ConvTranspose2d(layer.channels, layer.shape_in[0], layer.kernel, padding=layer.padding)
            self.unpool = nn.MaxUnpool2d(layer.pool.size, layer.pool.stride, layer.pool.padding)

    def forward(self, y: Tensor) -> Tensor:
        """y (B, ...), shaped as the block's output."""
        if self.unpool is not None:
            y = self.unpool(y, self.block[0].indices, output_size=self.block[0].shape[-2:])
        return self.map(self.rho(y)).view(self.below)


class Official:
    """A net of `credit.conv` with its feedback blocks, and one mini-batch x (B, C, H, W), labels (B,)."""

    def __init__(self, net: Net, x: Tensor, labels: Tensor, sigma: Sequence[float], lr: Sequence[float]) -> None:
        self.x, self.labels, self.sigma = x, labels, sigma
        self.blocks = nn.ModuleList(Forward(layer) for layer in net.blocks)
        self.activities = self._pass()
        self.back = [Back(b, net.block(i), self.activities[i - 1].shape) for i, b in enumerate(self.blocks) if i]
        self.opt = torch.optim.SGD(self.blocks.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.own = [torch.optim.SGD(g.parameters(), r, momentum=0.9) for g, r in zip(self.back, lr, strict=True)]

    @torch.no_grad()
    def _pass(self) -> list[Tensor]:
        activities = [self.x]
        for block in self.blocks:
            activities.append(block(activities[-1]))
        return activities[1:]

    def iteration(self, i: int) -> None:
        """A step of feedback block i."""
        block, back, x, y = self.blocks[i], self.back[i - 1], self.activities[i - 1], self.activities[i]
        sigma, n = self.sigma[i - 1], len(x)
        r = back(y)
        dx = sigma * torch.randn_like(x)
        with torch.no_grad():
            noisy = block(x + dx)
        from_noise = back(noisy)
        with torch.no_grad():
            block(x)
        dy = sigma * torch.randn_like(y)
        from_output = back(y + dy)
        loss = -2 * (dx * (from_noise - r)).sum() / n + (from_output - r).square().sum() / n
        self.own[i - 1].zero_grad()
        loss.backward()
        self.own[i - 1].step()

    def forward_step(self, beta: float = 0.7) -> None:
        """The two passes, targets, and the step of the forward weights."""
        self.activities = self._pass()
        out, x = [], self.x
        for block in self.blocks:
            out.append(block(x))
            x = out[-1].detach()
        with torch.no_grad():
            delta = torch.softmax(x, -1)
            delta[torch.arange(len(x)), self.labels] -= 1
            targets = [x - beta * delta]
            for i in reversed(range(1, len(out))):
                back = self.back[i - 1]
                targets.append(out[i - 1] + back(targets[-1]) - back(out[i]))
        loss = sum(0.5 * (s - t).square().sum() / len(x) for s, t in zip(out, reversed(targets), strict=True))
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()


def backpropagation(net: Net, x: Tensor, labels: Tensor):
    """A step of backpropagation with autograd and torch.optim.SGD; x (B, C, H, W), labels (B,)."""
    layers: list[nn.Module] = []
    for layer in net.blocks:
        if isinstance(layer, Conv):
            layers.append(nn.Conv2d(layer.shape_in[0], layer.channels, layer.kernel, padding=layer.padding))
        else:
            layers += [nn.Flatten(), nn.Linear(layer.n_in, layer.n_out)]
        if layer.activation == "elu":
            layers.append(nn.ELU())
        if isinstance(layer, Conv):
            layers.append(nn.MaxPool2d(layer.pool.size, layer.pool.stride, layer.pool.padding))
    model, criterion = nn.Sequential(*layers), nn.CrossEntropyLoss()
    opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        opt.zero_grad()
        criterion(model(x), labels).backward()
        opt.step()

    return step
