"""Timesteps that are alike: of one environment, or of many at once."""

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from capenv.errors import OutsideSpace, ProtocolError
from capenv.remote.outlines import (
    NotAlikeError,
    Outline,
    Places,
    in_order,
    outline_of,
    outline_of_map,
)
from capenv.remote.step_shapes import (
    ENDS_BYTE,
    EXACT_REWARD,
    INFO,
    INFOS,
    OBSERVATION,
    REWARD_BYTE,
    SLOT_BYTE,
    TERMINATED,
    TRUNCATED,
    frame_of,
    padded,
    root_of,
    slot_of,
    values_beside,
    vector_frame,
)
from capenv.rpc.capability import Content
from capenv.rpc.patterns import Fields, Frame, Shape
from capenv.transports.shared_frames import BorrowedFrames, SharedFrames
from capenv.values import ElementCodec, check_bools
from capenv.worlds import TimeStep, VectorTimeStep

Step = tuple[Any, Any, bool, bool, dict[str, Any]]
"""What Gymnasium's step returns."""
VectorStep = tuple[Any, Any, Any, Any, dict[str, Any]]
"""What Gymnasium's VectorEnv.step returns."""

Told = TypeVar("Told", contravariant=True)
Taken = TypeVar("Taken", covariant=True)
_SMALL = 1 << 14
"""Bytes of observations that are copied rather than sent as a piece of their own."""


class Alike(Protocol, Generic[Told, Taken]):
    """Results of `step` that differ in numbers and in a frame alone."""

    shape: Shape

    def pack(self, timestep: Told, check: bool) -> tuple[Fields, Frame] | None:
        """Return fields and frame of a timestep, None if it is not alike.

        The frame may be a view of the observation's own memory. `check`: whether the observation must be
        within its bounds.
        """

    def unpack(self, fields: Fields, frame: bytearray | memoryview) -> Taken:
        """Return the timestep of fields and frame, in arrays that may view the frame."""


class AlikeSteps:
    """Timesteps of one environment that are like one that was told of."""

    def __init__(
        self,
        results: Content,
        like: TimeStep,
        observations: ElementCodec,
        borrowed: BorrowedFrames | None = None,
        shared: SharedFrames | None = None,
    ) -> None:
        """Take results of `step`, what they say, and the memory that both ends share.

        Raises:
            NotAlikeError: others like them cannot be known by their shape.
        """
        root = root_of(results)
        if root.data_words < 2:
            raise NotAlikeError
        start = root.start << 3
        places: Places = [(start + REWARD_BYTE, "d"), (start + ENDS_BYTE, "B")]
        self._observations = observations
        self._reward: Outline | None = None
        self._info: Outline | None = None
        if root.pointer(EXACT_REWARD) is not None:
            self._reward = outline_of(like.reward, root.struct(EXACT_REWARD), places)
        if root.pointer(INFO) is not None:
            self._info = outline_of_map(like.info, root.pointer(INFO), places)
        element = root.struct(OBSERVATION)
        frame = frame_of(element)
        beside = observations.pack(like.observation, check=False)[1]
        told = values_beside(element)
        if [index for index, _ in beside] != [index for index, _ in told]:
            raise NotAlikeError
        self._beside = [
            (index, outline_of(value, its, places))
            for (index, value), (_, its) in zip(beside, told, strict=True)
        ]
        self._borrowed, self._shared = borrowed, shared
        self._in_slot = bool(slot_of(element))
        if self._in_slot:
            places.append(((element.start << 3) + SLOT_BYTE, "B"))
        if not in_order([*places, (frame[0], "x")] if frame[1] else places):
            raise NotAlikeError
        if self._in_slot and (self._beside or frame[1]):
            raise NotAlikeError
        self.shape = Shape(tuple(places), frame)
        self._plain = not (self._reward or self._info or self._beside or self._in_slot)

    def pack(self, timestep: TimeStep, check: bool) -> tuple[Fields, Frame] | None:
        """Return fields and frame of a timestep, None if it is not alike."""
        reward = timestep.reward
        ends = timestep.terminated * TERMINATED | timestep.truncated * TRUNCATED
        if self._reward is None:
            if type(reward) is not float:
                return None
            numbers = [reward, ends]
        else:
            numbers = [0.0, ends]
            if not self._reward.take(reward, numbers):
                return None
            numbers[0] = float(reward)
        if self._info is None:
            if timestep.info:
                return None
        elif not self._info.take(timestep.info, numbers):
            return None
        if self._beside:
            return self._pack_beside(timestep.observation, check, numbers)
        frame = self._observations.frame(timestep.observation, check)
        if frame is None or self._shared is None:
            return None if frame is None else (numbers, frame)
        if not self._in_slot:
            # Said in general there is a slot for it, and from then on again.
            return None if self._shared.free_slots else (numbers, frame)
        slot = self._shared.lend(frame)
        return None if slot is None else ([*numbers, slot + 1], b"")

    def _pack_beside(
        self, observation: Any, check: bool, numbers: list[Any]
    ) -> tuple[Fields, Frame] | None:
        try:
            frame, beside = self._observations.pack(observation, check=check)
        except OutsideSpace:
            return None  # which is said in general
        if len(beside) != len(self._beside) or len(frame) != self.shape.frame[1]:
            return None
        for (index, value), (known, outline) in zip(beside, self._beside, strict=True):
            if index != known or not outline.take(value, numbers):
                return None
        return numbers, frame

    def unpack(self, fields: Fields, frame: bytearray | memoryview) -> Step:
        """Return the timestep of fields and frame."""
        reward, ends = fields[:2]
        info: dict[str, Any] = {}
        if not self._plain:
            numbers = iter(fields[2:])
            reward = reward if self._reward is None else self._reward.give(numbers)
            info = info if self._info is None else self._info.give(numbers)
            if self._in_slot:
                frame = self._slot(next(numbers))
            beside = {index: outline.give(numbers) for index, outline in self._beside}
            observation = self._observations.unpack(frame, beside, check=False)
        else:
            observation = self._observations.unpack_frame(frame)
        return observation, reward, ends & TERMINATED != 0, ends & TRUNCATED != 0, info

    def _slot(self, number: int) -> memoryview:
        if self._borrowed is None:
            raise ProtocolError("an observation is in memory that is not shared")
        return self._borrowed.view(number - 1)


class AlikeVectorSteps:
    """Timesteps of many environments that are like one that was told of."""

    def __init__(
        self, results: Content, like: VectorTimeStep, observations: ElementCodec, num_envs: int
    ) -> None:
        """Take results of `step`, and what they say.

        Raises:
            NotAlikeError: others like them cannot be known by their shape.
        """
        root = root_of(results)
        frame = vector_frame(root)
        if frame is None:
            raise NotAlikeError
        places: Places = []
        self._observations, self._num_envs = observations, num_envs
        self._dtype = like.rewards.dtype
        self._infos: Outline | None = None
        if root.pointer(INFOS) is not None:
            self._infos = outline_of_map(like.infos, root.pointer(INFOS), places)
        if not in_order([*places, (frame[0], "x")]):
            raise NotAlikeError
        self.shape = Shape(tuple(places), frame)

    def pack(self, timestep: VectorTimeStep, check: bool) -> tuple[Fields, Frame] | None:
        """Return fields and frame of a timestep, None if it is not alike."""
        numbers: list[Any] = []
        if self._infos is None:
            if timestep.infos:
                return None
        elif not self._infos.take(timestep.infos, numbers):
            return None
        if timestep.rewards.dtype != self._dtype:
            return None
        observations = self._observations.frame(timestep.observations, check)
        if observations is None:
            return None
        rewards, gap = timestep.rewards.tobytes(), bytes(padded(self._num_envs) - self._num_envs)
        ends = b"".join(
            (
                rewards,
                bytes(padded(len(rewards)) - len(rewards)),
                timestep.terminations.tobytes(),
                gap,
                timestep.truncations.tobytes(),
                gap,
            )
        )
        if len(observations) <= _SMALL:
            return numbers, b"".join((observations, ends))
        return numbers, (observations, ends)

    def unpack(self, fields: Fields, frame: bytearray | memoryview) -> VectorStep:
        """Return the timestep of fields and frame."""
        count, start = self._num_envs, self._observations.layout.frame_size
        observations = self._observations.unpack_frame(memoryview(frame)[:start])
        # Copied, so that who keeps them does not keep all observations.
        rewards = np.ndarray((count,), self._dtype, frame, start).copy()
        start += padded(rewards.nbytes)
        ends = start + padded(count)
        check_bools(frame[start : start + count])
        check_bools(frame[ends : ends + count])
        terminations = np.ndarray((count,), np.bool_, frame, start).copy()
        truncations = np.ndarray((count,), np.bool_, frame, ends).copy()
        numbers: Iterator[Any] = iter(fields)
        infos = {} if self._infos is None else self._infos.give(numbers)
        return observations, rewards, terminations, truncations, infos
