"""Control by deep Q-learning: the net says what every action is worth, and learns from what the best of them led to.

Source: Song et al. (2024), released code: simple_dqn_new (Figure 4k); Mnih et al. (Nature 2015) without target network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from credit.errors import ConfigError
from credit.nets.base import Batch
from credit.nets.losses import Loss
from credit.numerics.devices import moved
from credit.numerics.rand import Rand
from credit.tasks.base import Context, Learner, Task
from credit.tasks.reinforcement.acting import compiled_greedy, greedy
from credit.tasks.reinforcement.environments import CompiledEnvironments, Environments
from credit.tasks.reinforcement.exploration import epsilon, explored
from credit.tasks.reinforcement.names import problems
from credit.tasks.reinforcement.replay import CompiledReplay, Replay, Transitions, drawn
from credit.tasks.reinforcement.returns import Returns
from credit.tasks.reinforcement.running import CompiledStatistics, RunningStatistics


@dataclass
class QLearning(Task):
    """Episodes of all members side by side, step by step; a member whose episode has ended waits for the others.

    settings: as configured. A member's environment, statistics, buffer and returns are its own.
    """

    settings: Control
    environments: Environments
    statistics: RunningStatistics
    replay: Replay
    returns: Returns
    like: Tensor  # of any shape, of the dtype and on the device of the net
    done: int = 0  # episodes

    @property
    def shape_in(self) -> tuple[int, ...]:
        """(numbers of an observation,)."""
        return (self.environments.space.observations,)

    @property
    def n_out(self) -> int:
        """Number of actions."""
        return self.environments.space.actions

    def epoch(self, learner: Learner, rand: Rand) -> None:
        """`episodes` times an episode of every member and the updates behind it."""
        for _ in range(self.settings.episodes):
            self._play(learner, rand)
            self._learn(learner, rand)
            self.done += 1

    def _play(self, learner: Learner, rand: Rand) -> None:
        """One episode of every member. All draws of it are made at once, so that nobody's depend on how others fare."""
        o, env = self.settings, self.environments
        uniform = rand.uniform("explore", (env.limit, 2)).cpu().numpy()
        probability = epsilon(self.done, o.epsilon, o.epsilon_fall, o.epsilon_min)
        total, live = np.zeros(len(uniform)), np.arange(len(uniform))
        best = (compiled_greedy if o.compiled else greedy)(learner, self.like)
        now = self._seen(env.reset(), live)
        for step in range(env.limit):
            actions = explored(best(now, live), uniform[live, step], probability, self.n_out)
            observations, rewards, ended = env.step(live, actions)
            following = self._seen(observations, live)
            self.replay.put(live, now[live], actions, rewards, following, ended)
            total[live] += rewards
            now[live] = following
            live = live[~ended]
            if not live.size:
                break
        self.returns.add(total)

    def _seen(self, observations: np.ndarray, live: np.ndarray) -> np.ndarray:
        """Observations (K, n) of the members `live`, as the net gets them; the statistics know them from then on."""
        if self.settings.normalise:
            return self.statistics.normalised(observations, live)
        return observations.astype(self.replay.kept.observation.dtype)

    def _learn(self, learner: Learner, rand: Rand) -> None:
        """Updates of the members that have seen enough; the others stay as they are."""
        o, ready = self.settings, self.replay.size > self.settings.learn_from
        uniform = rand.uniform("replay", (o.updates, o.batch_size))
        if not ready.any():
            return
        learns = moved(torch.from_numpy(ready), self.like.device)
        index = drawn(uniform.cpu().numpy(), self.replay.size)
        for own in index.swapaxes(0, 1):
            learner.update(self._batch(learner, self.replay.take(own)), learns)

    def _batch(self, learner: Learner, found: Transitions) -> Batch:
        """x (M, B, n), y and weights (M, B, actions): the target at the chosen action, which alone has an error."""
        values = learner.predict(self._tensor(found.following)).amax(-1)
        target = self._tensor(found.reward) + self.settings.discount * values * (1 - self._tensor(found.ended))
        chosen = moved(torch.from_numpy(found.action), self.like.device).unsqueeze(-1)
        y = self.like.new_zeros(*chosen.shape[:2], self.n_out)
        weights = y.scatter(-1, chosen, 1.0)
        return Batch(self._tensor(found.observation), y.scatter_(-1, chosen, target.unsqueeze(-1)), weights)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return moved(torch.from_numpy(array), self.like.device)

    def evaluate(self, learner: Learner, loss: Loss, splits: tuple[str, ...]) -> dict[str, Tensor]:
        """{"episode_return", "mean_return", "run_return": (M,)} of the episodes so far; NaN before the first.

        Raises ConfigError for a net with other outputs than there are actions.
        """
        if learner.net.n_out != self.n_out:
            raise ConfigError(
                f"net: has {learner.net.n_out} outputs; needs one for each of the {self.n_out} actions of "
                f"{self.settings.environment}"
            )
        return self.returns.measured()

    def state_dict(self) -> dict:
        """Everything but the weights: episodes done, generators of the environments, statistics, buffers, returns."""
        parts = {"environments": self.environments, "statistics": self.statistics, "replay": self.replay}
        return {"done": self.done, "returns": self.returns.state_dict()} | {k: p.state_dict() for k, p in parts.items()}

    def load_state_dict(self, state: dict) -> None:
        self.done = state["done"]
        for name in ("environments", "statistics", "replay", "returns"):
            getattr(self, name).load_state_dict(state[name])


@dataclass(frozen=True)
class Control:
    """Deep Q-learning in an environment of gymnasium, each member in one of its own, seeded once with its seed.

    Target of the chosen action: reward + discount * the largest value of what followed, by the present net, which is
    left out where the episode has ended, also where its time was up. Other actions have no error.

    environment: its name. batch_size: transitions of a mini-batch. capacity: so many last transitions are kept.
    learn_from: with so many or fewer there are no updates yet.

    episodes: of an epoch, each with its updates. updates: after an episode, with mini-batches of `batch_size`
    transitions, drawn from the last `capacity` of them without replacement; none up to `learn_from` transitions.
    discount: of later rewards. epsilon, epsilon_fall, epsilon_min: the probability of a random action is
    max(epsilon_min, epsilon - epsilon_fall * episodes done). normalise: observations, by mean and standard deviation
    of all that a member has seen so far, when it sees them; as such they are kept. limit: steps of an episode; left
    out: the environment's. window: episodes, over whose last ones mean_return is the mean. compiled: steps
    in compiled loops, those of environments equal to gymnasium's to rounding.

    Recorded are the return of the last episode, the sum of its rewards; mean_return; and run_return, the mean of
    mean_return over all episodes so far.
    """

    metrics: ClassVar[tuple[str, ...]] = ("episode_return", "mean_return", "run_return")
    evaluated: ClassVar[tuple[str, ...]] = ("episodes",)
    targets: ClassVar[str] = "values"
    excludes: ClassVar[str] = "credit.tasks.reinforcement.names.problems"

    environment: Literal["CartPole-v1", "Acrobot-v1", "MountainCar-v0"]
    episodes: Annotated[int, "> 0"] = 100
    updates: Annotated[int, "> 0"] = 10
    batch_size: Annotated[int, "> 0"] = 60
    capacity: Annotated[int, "> 0"] = 50000
    learn_from: Annotated[int, ">= 0"] = 2000
    discount: Annotated[float, "[0, 1]"] = 0.98
    epsilon: Annotated[float, "[0, 1]"] = 0.08
    epsilon_fall: Annotated[float, ">= 0"] = 5e-5
    epsilon_min: Annotated[float, "[0, 1]"] = 0.01
    normalise: bool = True
    limit: Annotated[int, "> 0"] | None = None
    window: Annotated[int, "> 0"] = 200
    compiled: bool = True

    def build(self, context: Context) -> QLearning:
        """The task. Raises ConfigError for an unknown environment, and where mini-batches could never be filled."""
        if found := list(problems(asdict(self), None)):
            raise ConfigError("\n".join(f"task.{problem}" for problem in found))
        kinds = (CompiledEnvironments, CompiledStatistics, CompiledReplay)
        world, statistics, replay = kinds if self.compiled else (Environments, RunningStatistics, Replay)
        environments = world(self.environment, context.rand.seeds, self.limit)
        like = torch.zeros(0, dtype=context.dtype, device=context.device)
        members, n, number = context.members, environments.space.observations, like.cpu().numpy().dtype.type
        return QLearning(
            self, environments, statistics(members, n, number), replay(members, self.capacity, n, number),
            Returns(members, self.window), like,
        )  # fmt: skip


part = Control
