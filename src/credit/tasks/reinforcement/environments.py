"""Environments of gymnasium, one for each member of a stack, stepped as the interface before version 0.26 did:
an episode ends where it terminates or is truncated.

Every environment is seeded once, with the member's seed, and draws its later initial states from there on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from credit.tasks.reinforcement.names import SPACES


class Environments:
    """gymnasium's own environments, stepped by gymnasium.

    limit: steps of an episode, None for the environment's own. Loads gymnasium when it is made.
    """

    def __init__(self, name: str, seeds: Sequence[int], limit: int | None = None) -> None:
        import gymnasium  # here alone, so that no other task needs it

        self.seeds, self.space = list(seeds), SPACES[name]
        self.limit = limit or self.space.limit
        self.made = [gymnasium.make(name, max_episode_steps=limit, disable_env_checker=True) for _ in self.seeds]
        self.seeded = False

    def reset(self) -> np.ndarray:
        """A new episode of every member; first observations, float32 (M, n)."""
        seeds = [None] * len(self.made) if self.seeded else self.seeds
        self.seeded = True
        return np.stack([one.reset(seed=seed)[0] for one, seed in zip(self.made, seeds, strict=True)])

    def step(self, live: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take actions (K,) in the environments `live` (K,): observations float32 (K, n), rewards (K,), ended (K,)."""
        found = [self.made[m].step(int(action)) for m, action in zip(live, actions, strict=True)]
        observations, rewards, terminated, truncated, _ = zip(*found, strict=True)
        return np.stack(observations), np.array(rewards, float), np.array(terminated) | np.array(truncated)

    def state_dict(self) -> dict:
        """The random generators between episodes, as gymnasium has them; there is no other state."""
        states = [json.dumps(one.unwrapped.np_random.bit_generator.state) for one in self.made] if self.seeded else []
        return {"generators": states}

    def load_state_dict(self, state: dict) -> None:
        """Continue from `state_dict`: with the next `reset`."""
        self.seeded = bool(state["generators"])
        for one, seed, generator in zip(self.made, self.seeds, state["generators"], strict=False):
            one.reset(seed=seed)
            one.unwrapped.np_random.bit_generator.state = json.loads(generator)


class CompiledEnvironments(Environments):
    """The same, but for steps in compiled loops that repeat gymnasium's equations, to rounding: `loops`.

    states (M, 4) or fewer numbers; steps (M,): of the present episode.
    """

    def __init__(self, name: str, seeds: Sequence[int], limit: int | None = None) -> None:
        from credit.tasks.reinforcement import loops

        super().__init__(name, seeds, limit)
        self.advance = loops.STEPS[name]
        self.steps = np.zeros(len(self.seeds), np.int64)
        self.states = np.zeros((len(self.seeds), 4))

    def reset(self) -> np.ndarray:
        observations = super().reset()
        for state, one in zip(self.states, self.made, strict=True):
            given = np.asarray(one.unwrapped.state)
            state[: len(given)] = given
        self.steps[:] = 0
        return observations

    def step(self, live: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observations = np.empty((len(live), self.space.observations), np.float32)
        rewards, ended = np.empty(len(live)), np.empty(len(live), np.bool_)
        self.advance(self.states, live, actions, observations, rewards, ended)
        self.steps[live] += 1
        return observations, rewards, ended | (self.steps[live] >= self.limit)
