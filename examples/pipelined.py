"""Under Trio: a host and an agent, and a chain of calls that costs one round trip."""

import trio

import capenv


async def main() -> None:
    host = capenv.Host()
    host.add("CartPole-v1")
    async with capenv.serve(host) as server, capenv.connect(server.url()) as remote:
        description = await remote.describe()
        print(f"{description.implementation} offers {', '.join(description.environments)}")

        # Each call is on its way before the one that it depends on has been answered.
        session = remote.environment("CartPole-v1").create_world().join()
        reset = session.reset(seed=1)
        step = session.step(0)

        observation, _ = await reset
        timestep = await step
        print(f"from {observation} to {timestep.observation}, reward {timestep.reward}")

        total = timestep.reward
        while not (timestep.terminated or timestep.truncated):
            timestep = await session.step(int(timestep.observation[2] > 0))
            total += timestep.reward
        print(f"return {total}")


if __name__ == "__main__":
    trio.run(main)
