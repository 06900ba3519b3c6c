from rich.console import Console

from fusion_rt.health_view import health_line, health_table
from fusion_rt.messages import Health

MOVED = "camera/front against lidar/top: the mounting moved"


def test_a_warning_stands_in_the_table_and_in_the_line() -> None:
    health = Health(stamp_ns=0, rig="car", mode="NORMAL", warnings=(MOVED,))
    console = Console(width=120)
    with console.capture() as shown:
        console.print(health_table(health))
    assert MOVED in shown.get()
    assert health_line(health).endswith(MOVED)
