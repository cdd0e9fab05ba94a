"""A worker says so before it loads more customers than fit: what is free, by files as Linux writes them."""

from pathlib import Path

import pytest
from deployment import Play, World

from streams import memory


def machine(root: Path, available: int, most: str | None = None, taken: int = 0) -> Path:
    """Files of a machine with so many kilobytes left, and of a container with so many bytes."""
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal:  99 kB\nMemFree:  1 kB\nMemAvailable:  {available} kB\n")
    if most is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(f"{most}\n")
        (root / "sys/fs/cgroup/memory.current").write_text(f"{taken}\n")
    return root


@pytest.mark.parametrize(
    ("most", "taken", "left"),
    [(None, 0, 8_192_000), ("max", 5, 8_192_000), ("1000000", 400_000, 600_000), ("1000000", 2_000_000, 0)],
)
def test_the_least_of_machine_and_container_is_left(tmp_path: Path, most: str | None, taken: int, left: int) -> None:
    assert memory.free(machine(tmp_path, 8_000, most, taken)) == left


def test_where_nothing_can_be_read_nothing_is_said(tmp_path: Path) -> None:
    assert memory.free(tmp_path) is None
    assert memory.warning(0, 10**9, None) is None


def test_a_partition_says_so_and_loads_all_the_same(play: Play, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("streams.partition.say", lambda line, **_: said.append(line))

    async def scenario(world: World) -> None:
        assert len((await world.located()).table) == 60
        assert said == []
        monkeypatch.setattr(memory, "free", lambda: 60 * memory.PER_CUSTOMER - 1)
        assert len((await world.located()).table) == 60
        assert said == [
            "partition 0 holds 60 customers: about 0.0 GB to load them, 0.0 GB are free; add memory or workers"
        ]

    play(scenario, shop)
