"""What happens in a step of all members, in compiled loops: environments, statistics, replay.

Environments follow the equations of gymnasium's `envs/classic_control`.

Sources: Barto, Sutton & Anderson (1983), cart and pole; Sutton (1996), acrobot; Moore (1990), mountain car; their
constants as in gymnasium. gymnasium takes 7 to 37 µs for a step, which is half of what deep Q-learning costs.

Every step of an environment takes states (M, 4), in place, of the members `live` (K,) that act by `actions` (K,) int64;
it fills observations (K, n), rewards (K,) and terminated (K,).
"""

from __future__ import annotations

import math

import numpy as np

from credit.numerics.compiled import compiled

GRAVITY = 9.8
TURN = 2 * math.pi


@compiled
def cart_pole(states, live, actions, observations, rewards, terminated):
    """A pole of 1 m on a cart, 1 kg and 0.1 kg, pushed by 10 N to one side for 0.02 s, Euler's method."""
    for k in range(live.size):
        s = states[live[k]]
        force = 10.0 if actions[k] == 1 else -10.0
        cosine, sine = math.cos(s[2]), math.sin(s[2])
        push = (force + 0.05 * (s[3] * s[3]) * sine) / 1.1
        angular = (GRAVITY * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * (cosine * cosine) / 1.1))
        linear = push - 0.05 * angular * cosine / 1.1
        s[0], s[1], s[2], s[3] = s[0] + 0.02 * s[1], s[1] + 0.02 * linear, s[2] + 0.02 * s[3], s[3] + 0.02 * angular
        limit = 12 * 2 * math.pi / 360
        terminated[k] = s[0] < -2.4 or s[0] > 2.4 or s[2] < -limit or s[2] > limit
        rewards[k] = 1.0
        for i in range(4):
            observations[k, i] = s[i]


@compiled
def slopes(a, b, da, db, torque):
    """Accelerations of the two angles a, b of the acrobot, with the speeds da, db."""
    d1 = 0.25 + (1.0 + 0.25 + 2 * 0.5 * math.cos(b)) + 1.0 + 1.0
    d2 = (0.25 + 0.5 * math.cos(b)) + 1.0
    phi2 = 0.5 * GRAVITY * math.cos(a + b - math.pi / 2.0)
    phi1 = -0.5 * (db * db) * math.sin(b) - 2 * 0.5 * db * da * math.sin(b)
    phi1 = phi1 + (0.5 + 1.0) * GRAVITY * math.cos(a - math.pi / 2) + phi2
    ddb = (torque + d2 / d1 * phi1 - 0.5 * (da * da) * math.sin(b) - phi2) / (0.25 + 1.0 - d2 * d2 / d1)
    return -(d2 * ddb + phi1) / d1, ddb


@compiled
def wrapped(x):
    """An angle in [-pi, pi], by whole turns."""
    while x > math.pi:
        x = x - TURN
    while x < -math.pi:
        x = x + TURN
    return x


@compiled
def acrobot(states, live, actions, observations, rewards, terminated):
    """Two links of 1 m and 1 kg, a torque of -1, 0 or 1 N m between them for 0.2 s, one step of Runge and Kutta."""
    h = 0.2
    for k in range(live.size):
        s = states[live[k]]
        torque = actions[k] - 1.0
        a1, b1, da1, db1 = s[0], s[1], s[2], s[3]
        p1, q1 = slopes(a1, b1, da1, db1, torque)
        da2, db2 = da1 + h / 2 * p1, db1 + h / 2 * q1
        p2, q2 = slopes(a1 + h / 2 * da1, b1 + h / 2 * db1, da2, db2, torque)
        da3, db3 = da1 + h / 2 * p2, db1 + h / 2 * q2
        p3, q3 = slopes(a1 + h / 2 * da2, b1 + h / 2 * db2, da3, db3, torque)
        da4, db4 = da1 + h * p3, db1 + h * q3
        p4, q4 = slopes(a1 + h * da3, b1 + h * db3, da4, db4, torque)
        s[0] = wrapped(a1 + h / 6.0 * (da1 + 2 * da2 + 2 * da3 + da4))
        s[1] = wrapped(b1 + h / 6.0 * (db1 + 2 * db2 + 2 * db3 + db4))
        s[2] = min(max(da1 + h / 6.0 * (p1 + 2 * p2 + 2 * p3 + p4), -4 * math.pi), 4 * math.pi)
        s[3] = min(max(db1 + h / 6.0 * (q1 + 2 * q2 + 2 * q3 + q4), -9 * math.pi), 9 * math.pi)
        terminated[k] = -math.cos(s[0]) - math.cos(s[1] + s[0]) > 1.0
        rewards[k] = 0.0 if terminated[k] else -1.0
        observations[k, 0], observations[k, 1] = math.cos(s[0]), math.sin(s[0])
        observations[k, 2], observations[k, 3] = math.cos(s[1]), math.sin(s[1])
        observations[k, 4], observations[k, 5] = s[2], s[3]


@compiled
def mountain_car(states, live, actions, observations, rewards, terminated):
    """A car in a valley, too weak for the slope: it is to reach position 0.5."""
    for k in range(live.size):
        s = states[live[k]]
        speed = s[1] + ((actions[k] - 1) * 0.001 + math.cos(3 * s[0]) * (-0.0025))
        speed = min(max(speed, -0.07), 0.07)
        position = min(max(s[0] + speed, -1.2), 0.6)
        if position == -1.2 and speed < 0:
            speed = 0.0
        s[0], s[1] = position, speed
        terminated[k] = position >= 0.5 and speed >= 0
        rewards[k] = -1.0
        observations[k, 0], observations[k, 1] = np.float32(position), np.float32(speed)


STEPS = {"CartPole-v1": cart_pole, "Acrobot-v1": acrobot, "MountainCar-v0": mountain_car}


@compiled
def normalised(x, live, count, mean, squares, out):
    """out (K, n) of `RunningStatistics.normalised`, whose arrays it changes in place; x (K, n) float32."""
    one = count.dtype.type(1)
    for k in range(live.size):
        m, flat = live[k], False
        count[m] += one
        for i in range(x.shape[1]):
            given, before = count.dtype.type(x[k, i]), mean[m, i]
            mean[m, i] = before + (given - before) / count[m]
            squares[m, i] = squares[m, i] + (given - before) * (given - mean[m, i])
            flat = flat or np.sqrt(squares[m, i] / count[m]) == 0
            out[k, i] = given - mean[m, i]
        if not flat:
            for i in range(x.shape[1]):
                out[k, i] = out[k, i] / np.sqrt(squares[m, i] / count[m])


@compiled
def put(live, transition, kept, size, place):
    """`Replay.put`: the parts of a transition go to where the members `live` have their places."""
    observation, action, reward, following, ended = transition
    observations, chosen, rewards, next_ones, ends = kept
    capacity = rewards.shape[1]
    for k in range(live.size):
        m, p = live[k], place[live[k]]
        for i in range(observation.shape[1]):
            observations[m, p, i] = observation[k, i]
            next_ones[m, p, i] = following[k, i]
        chosen[m, p], rewards[m, p], ends[m, p] = action[k], reward[k], ended[k]
        place[m] = (p + 1) % capacity
        size[m] = min(size[m] + 1, capacity)
