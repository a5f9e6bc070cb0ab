"""Reinforcement-learning environments as capabilities over Cap'n Proto RPC.

An agent connects to a capability URL and plays::

    import capenv

    env = capenv.make("capnp://insecure@127.0.0.1:7000/...")

A host offers what it likes::

    host = capenv.Host()
    host.add("CartPole-v1")
    with capenv.serve(host) as server:
        print(server.url("CartPole-v1"))
"""

import gymnasium

from capenv import errors
from capenv.adapters.gymnasium import ENV_ID, RemoteEnv, make
from capenv.adapters.vector import RemoteVectorEnv, make_vec
from capenv.errors import CapenvError
from capenv.remote.proxies import (
    Pending,
    RemoteEnvironment,
    RemoteHost,
    RemoteSession,
    RemoteWorld,
    connect,
)
from capenv.remote.server import Server, serve
from capenv.rpc.capability import Promise
from capenv.rpc.interface import Interface
from capenv.rpc.limits import Limits
from capenv.rpc.servant import Request, Servant
from capenv.schema import load as load_schema
from capenv.stubs import Call, Results, Stub
from capenv.url import CapabilityURL
from capenv.vat import Vat
from capenv.worlds import (
    Environment,
    EnvironmentDescription,
    Host,
    HostDescription,
    ResetResult,
    Seat,
    Session,
    SessionDescription,
    Setting,
    TimeStep,
    World,
    WorldDescription,
)

__all__ = [
    "Call",
    "CapabilityURL",
    "CapenvError",
    "Environment",
    "EnvironmentDescription",
    "Host",
    "HostDescription",
    "Interface",
    "Limits",
    "Pending",
    "Promise",
    "RemoteEnv",
    "RemoteEnvironment",
    "RemoteHost",
    "RemoteSession",
    "RemoteVectorEnv",
    "RemoteWorld",
    "Request",
    "ResetResult",
    "Results",
    "Seat",
    "Servant",
    "Server",
    "Session",
    "SessionDescription",
    "Setting",
    "Stub",
    "TimeStep",
    "Vat",
    "World",
    "WorldDescription",
    "connect",
    "errors",
    "load_schema",
    "make",
    "make_vec",
    "serve",
]

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        "capenv.adapters.gymnasium:make",
        # The host's environment has its own wrappers, and says itself what is wrong.
        order_enforce=False,
        disable_env_checker=True,
    )
