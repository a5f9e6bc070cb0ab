"""The environments, registered with Gymnasium, that every claim is proven for."""

NAMES = [
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Acrobot-v1",
    "FrozenLake-v1",
    "CliffWalking-v1",
    "Taxi-v4",
    "Blackjack-v1",
    "InvertedPendulum-v5",
    "ale_py:ALE/Pong-v5",
]
