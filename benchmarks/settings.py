"""All the settings that contenders are measured in, one after the other."""

from collections.abc import Mapping, Sequence

import command
from contenders import Contender
from placement import placements
from rounds import Measurement, measure


def measure_all(
    contenders: Sequence[Contender], environments: Mapping[str, int], rounds: int
) -> list[Measurement]:
    """Measure contenders in every placement with every environment, which they step so often in a round."""
    settings = [(place, *setting) for place in placements() for setting in environments.items()]
    measurements: list[Measurement] = []
    with command.progress(len(settings) * (rounds + 1)) as progress:
        for place, environment, steps in settings:
            progress.describe(f"{environment}, {place.name}")
            here = [contender for contender in contenders if contender.steps(environment)]
            measurements += measure(here, environment, place, rounds, steps, progress.advance)
    return measurements
