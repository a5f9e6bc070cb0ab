"""Remote vector sessions as a `gymnasium.vector.VectorEnv`."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium import VectorizeMode
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from capenv.adapters.batching import arranged, join, join_infos, split
from capenv.errors import (
    BadSettings,
    Disconnected,
    ResetNeeded,
    SessionBusy,
    SessionClosed,
    SessionError,
)
from capenv.remote import handshake
from capenv.remote.alike_steps import VectorStep
from capenv.remote.blocking_vector import BlockingVectorSession
from capenv.url import CapabilityURL
from capenv.values import ElementCodec
from capenv.worlds import ResetResult, VectorOptions

_MASK = "reset_mask"
_MOST = (1 << 32) - 1
"""What `VectorOptions.numEnvs` holds; a host allows fewer."""


def make_vec(
    url: str | CapabilityURL | Sequence[str | CapabilityURL],
    num_envs: int = 1,
    id: str | None = None,  # noqa: A002
    *,
    vectorization_mode: str | VectorizeMode | None = None,
    autoreset_mode: str | AutoresetMode | None = None,
    render_mode: str | None = None,
    **settings: Any,
) -> VectorEnv[Any, Any, Any]:
    """Return environments behind one or several capability URLs, to be stepped as one.

    ::

        envs = capenv.make_vec("capnp://insecure@127.0.0.1:7000/...", num_envs=64)
        observations, infos = envs.reset(seed=1)

    Those of one host are stepped in one message; those of several at the same time.

    Args:
        url: the capability URL of a host or an environment; or several, which share the environments evenly.
        num_envs: how many environments in all.
        id: which environment, where a URL names a host that offers several.
        vectorization_mode: as `gymnasium.make_vec` has it: "vector_entry_point" for the environment's own
            vector implementation, "sync" for one environment after the other; None takes the first where
            there is one that can do what is asked.
        autoreset_mode: of Gymnasium's `AutoresetMode`; None is that of the entry point, or else NEXT_STEP.
        render_mode: one of the environment's.
        settings: what each environment is to be created with.

    Raises:
        URLError, NothingListening, NotCapenv, VersionMismatch: nobody is there to talk to.
        UnknownToken: a URL's secret is wrong or was revoked.
        UnknownEnvironment, BadSettings, EnvironmentFailed: no session is to be had.
    """
    given = [url] if isinstance(url, str | CapabilityURL) else url
    urls = [handshake.checked(one) for one in given]
    if render_mode is not None:
        settings["render_mode"] = render_mode
    try:
        vectorization = None if vectorization_mode is None else VectorizeMode(vectorization_mode)
        autoreset = None if autoreset_mode is None else AutoresetMode(autoreset_mode)
    except ValueError as error:
        raise BadSettings(f"{error}; see make_vec for those there are") from None
    if vectorization is VectorizeMode.ASYNC:
        raise BadSettings("the vectorization_mode 'async' is none of a remote vector; use 'sync'")
    if not urls or not len(urls) <= num_envs <= _MOST:
        raise BadSettings(
            f"{num_envs} environments cannot be shared by {len(urls)} URLs; ask for more, or give fewer"
        )
    share, more = divmod(num_envs, len(urls))
    parts: list[_Part] = []
    try:
        for index, one in enumerate(urls):
            options = VectorOptions(share + (index < more), vectorization, autoreset)
            parts.append(_Part(one, id, options, settings))
    except BaseException:
        for part in parts:
            part.session.close()
        raise
    return RemoteVectorEnv(parts)


class _Part:
    """What one URL contributes: its session, which is opened anew after it broke."""

    def __init__(
        self,
        url: CapabilityURL,
        id: str | None,  # noqa: A002
        options: VectorOptions,
        settings: Mapping[str, Any],
    ) -> None:
        self.url = url
        self.size = options.num_envs
        self._id = handshake.checked_id(id)
        self._options = options
        self._settings = settings
        self.session = self.open()

    def open(self) -> BlockingVectorSession:
        self.session = BlockingVectorSession.open(self.url, self._id, self._options, self._settings)
        return self.session


class RemoteVectorEnv(VectorEnv[Any, Any, Any]):
    """Environments that live elsewhere, stepped as one. `make_vec` makes one.

    Arrays returned are the caller's own. One thread at a time may use it.
    """

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = list(parts)
        self._sizes = [part.size for part in parts]
        self._using = threading.Lock()
        self._stepping = False
        self._latest: list[Any] = []
        try:
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        told = [part.session.description for part in self._parts]
        first = told[0]
        for part, other in zip(self._parts, told, strict=True):
            if (
                other.environment.observation_space != first.environment.observation_space
                or other.environment.action_space != first.environment.action_space
                or other.autoreset_mode != first.autoreset_mode
            ):
                raise BadSettings(
                    f"the environments behind {part.url} have other spaces or another autoreset_mode"
                    f" than those behind {self._parts[0].url}; only alike ones are stepped as one"
                )
        environment = first.environment
        assert environment.observation_space is not None
        assert environment.action_space is not None
        self.num_envs = sum(self._sizes)
        self.single_observation_space = environment.observation_space
        self.single_action_space = environment.action_space
        if len(told) == 1:
            self.observation_space, self.action_space = first.observation_space, first.action_space
        else:
            self.observation_space = batch_space(environment.observation_space, self.num_envs)
            self.action_space = batch_space(environment.action_space, self.num_envs)
            for part, other in zip(self._parts, told, strict=True):
                usual = batch_space(environment.observation_space, part.size)
                if other.observation_space != usual:
                    raise BadSettings(
                        f"the environments behind {part.url} observe otherwise together than each alone;"
                        " such are stepped over one URL only"
                    )
        self._actions = ElementCodec(self.action_space, "actions")
        self.metadata = {**environment.metadata, "autoreset_mode": first.autoreset_mode}
        self.render_mode = first.render_mode

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes. Cut off, this connects again first, unless only some are to begin.

        Args:
            seed: for the first, whose successors get the next ones; or a list with one for each.
            options: for each; `reset_mask`, an array of bools, chooses those that begin.

        Raises:
            BadSettings: there are not as many seeds as environments, or the mask does not fit.
            EnvironmentFailed: an environment raised; another reset may work.
            Disconnected: a connection broke; another reset connects again.
        """
        seeds = self._seeds(seed)
        options, masks = self._masks(options)
        with self._used("reset"):
            for part in self._parts:
                if masks is None and not part.session.connection.connected:
                    part.session.close()
                    part.open()
            results = [
                self._reset_part(
                    index, seeds[index], options, None if masks is None else masks[index]
                )
                for index in range(len(self._parts))
            ]
        infos = [result.info for result in results]
        observations = [result.observation for result in results]
        if len(self._parts) == 1:
            return self._arranged(observations[0]), infos[0]
        self._latest = list(observations)
        return join(self.single_observation_space, observations), join_infos(infos, self._sizes)

    def _reset_part(
        self,
        index: int,
        seed: int | list[int | None] | None,
        options: dict[str, Any] | None,
        mask: Any,
    ) -> ResetResult:
        if mask is not None:
            if not mask.any():
                if not self._latest:
                    raise ResetNeeded(
                        "a reset_mask before the first reset; begin all episodes first"
                    )
                return ResetResult(self._latest[index], {})
            options = {**(options or {}), _MASK: mask}
        return self._parts[index].session.reset(seed, options)

    def step(self, actions: Any) -> VectorStep:
        """Act in every environment.

        Raises:
            OutsideSpace: the actions are not an element of the action space; nothing happened.
            ResetNeeded: no episode was begun.
            EnvironmentFailed: an environment raised; reset begins new episodes.
            SessionClosed: the environments were closed.
            Disconnected: a connection broke; reset connects again.
        """
        if len(self._parts) == 1:
            with self._used("step"):
                observations, *others = self._parts[0].session.step(actions)
            return self._arranged(observations), *others
        try:
            self.step_async(actions)
            return self.step_wait()
        except Exception:
            raise
        except BaseException:  # an interrupt: nobody knows any more who was stepped
            self._abandon()
            raise

    def step_async(self, actions: Any) -> None:
        """Act in every environment, and do not wait: `step_wait` returns what came of it.

        Raises:
            OutsideSpace, SessionClosed: as for `step`.
        """
        with self._used("step_async"):
            if len(self._parts) == 1:
                self._parts[0].session.launch(actions)
            else:
                # Whole first: what one host would refuse none may take.
                frame, beside = self._actions.pack(actions)
                whole = self._actions.unpack(bytearray(frame), dict(beside), check=False)
                parts = split(self.single_action_space, whole, self._sizes)
                for part, its in zip(self._parts, parts, strict=True):
                    part.session.launch(its)
            self._stepping = True

    def step_wait(self) -> VectorStep:
        """Return what came of `step_async`, as `step` does.

        Raises:
            SessionError: nothing was begun.
            ResetNeeded, EnvironmentFailed, SessionClosed, Disconnected: as for `step`.
        """
        if not self._stepping:
            raise SessionError("step_wait without step_async; call that first")
        with self._used("step_wait", waiting=True):
            steps: list[VectorStep] = []
            failure: Exception | None = None
            for part in self._parts:
                try:
                    steps.append(part.session.collect())
                except Exception as error:
                    failure = failure or error  # the others have been stepped, and are to be heard
            self._stepping = False
            if failure is not None:
                raise failure
        if len(steps) == 1:
            observations, *others = steps[0]
            return self._arranged(observations), *others
        observations, rewards, terminations, truncations, infos = zip(*steps, strict=True)
        self._latest = list(observations)
        return (
            join(self.single_observation_space, observations),
            np.concatenate(rewards),
            np.concatenate(terminations),
            np.concatenate(truncations),
            join_infos(infos, self._sizes),
        )

    def render(self) -> Any:
        """Return a rendering of each environment, as `SyncVectorEnv` does.

        Raises:
            ResetNeeded, EnvironmentFailed, SessionClosed, Disconnected: as for `step`.
        """
        with self._used("render"):
            renderings = [part.session.render() for part in self._parts]
        if len(renderings) == 1:
            return renderings[0]
        return tuple(frame for rendering in renderings for frame in rendering or ())

    def close_extras(self, **kwargs: Any) -> None:
        """Leave every session and close the connections."""
        for part in self._parts:
            part.session.close()

    def __del__(self) -> None:
        for part in self.__dict__.get("_parts", ()):
            part.session.abandon()

    @contextmanager
    def _used(self, what: str, *, waiting: bool = False) -> Iterator[None]:
        taken: list[bool] = []  # see RemoteEnv
        try:
            taken.extend(map(self._using.acquire, (False,)))
            if not taken[0]:
                raise SessionBusy(f"{what} while another thread uses these environments")
            if self.closed:
                raise SessionClosed(f"{what} after close; make the environments anew")
            if self._stepping and not waiting:
                raise SessionBusy(f"{what} between step_async and step_wait; call step_wait first")
            for part in self._parts:  # a fork's are its parent's
                if what != "reset" and not part.session.connection.connected:
                    raise Disconnected(f"{what} after a connection broke; reset connects again")
            try:
                yield
            except Disconnected as error:
                reason = str(error).partition(";")[0]
                raise Disconnected(
                    f"a connection ended in {what}: {reason}; reset connects again"
                ) from None
            except Exception:
                raise
            except BaseException:
                self._abandon()
                raise
        finally:
            if taken and taken[0]:
                self._using.release()

    def _abandon(self) -> None:
        """Want no more of what is under way."""
        self._stepping = False
        for part in self._parts:
            part.session.forget()

    def _seeds(self, seed: Any) -> list[Any]:
        if seed is None or isinstance(seed, int | np.integer):
            starts = [sum(self._sizes[:index]) for index in range(len(self._sizes))]
            return [None if seed is None else int(seed) + start for start in starts]
        seeds = [None if one is None else int(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise BadSettings(
                f"there are {len(seeds)} seeds for {self.num_envs} environments; give one each"
            )
        ends = [sum(self._sizes[: index + 1]) for index in range(len(self._sizes))]
        return [seeds[end - size : end] for end, size in zip(ends, self._sizes, strict=True)]

    def _masks(
        self, options: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, list[Any] | None]:
        if options is None or _MASK not in options:
            return options, None
        mask = options[_MASK]
        if (
            not isinstance(mask, np.ndarray)
            or mask.dtype != np.bool_
            or mask.shape != (self.num_envs,)
            or not mask.any()
        ):
            raise BadSettings(
                f"the reset_mask is an array of {self.num_envs} bools, of which one at least is True"
            )
        others = {key: value for key, value in options.items() if key != _MASK}
        ends = np.cumsum(self._sizes)[:-1]
        return others, np.split(mask, ends)

    def _arranged(self, observations: Any) -> Any:
        if isinstance(observations, np.ndarray):
            return observations
        return arranged(self.single_observation_space, observations)
