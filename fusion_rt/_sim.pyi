import numpy as np
import numpy.typing as npt

Triple = tuple[float, float, float]

class Scene:
    """One moment as the camera is told of it; `native/scene.h` says what each field means."""

    yaw_rate: float
    cloud: float
    shadow: float
    lamps: float
    wetness: float
    fog_per_m: float
    head_lamp_power: float
    tunnels: list[tuple[float, float, float, float]]
    gain: float
    exposure_s: float
    grain: int
    noise: float
    velocity: Triple
    to_sun: Triple
    sun: Triple
    zenith: Triple
    horizon: Triple
    fog: Triple
    head_lamp: Triple
    head_lamp_way: Triple
    def __init__(self) -> None: ...
    def set_plan(self, block_m: float, nodes: int, lamps_per_block: int) -> None: ...
    def set_camera(self, camera_from_city: npt.NDArray[np.float32]) -> None: ...

class Instances:
    """What is in view: equally long arrays, which it borrows."""

    def __init__(
        self,
        meshes: npt.NDArray[np.int32],
        transforms: npt.NDArray[np.float32],
        colours: npt.NDArray[np.float32],
        velocities: npt.NDArray[np.float32],
        yaw_rates: npt.NDArray[np.float32],
        flags: npt.NDArray[np.uint8],
    ) -> None: ...

class Camera:
    def __init__(
        self,
        width: int,
        height: int,
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        ground_colours: npt.NDArray[np.float32],
    ) -> None: ...
    def add_mesh(
        self,
        vertices: npt.NDArray[np.float32],
        triangles: npt.NDArray[np.int32],
        textures: npt.NDArray[np.uint8],
        colours: npt.NDArray[np.float32],
    ) -> int: ...
    def draw(self, scene: Scene, instances: Instances, pixels: npt.NDArray[np.int64]) -> None: ...
    def light(
        self, scene: Scene, instances: Instances, glows: npt.NDArray[np.float32], rain: float
    ) -> None: ...

class LensMap:
    def __init__(self, places: npt.NDArray[np.float32], width: int, height: int) -> None: ...
    def develop(
        self,
        camera: Camera,
        scene: Scene,
        drops: npt.NDArray[np.float32],
        is_bgr: bool,
        image: npt.NDArray[np.uint8],
    ) -> None: ...
    def look_up(
        self,
        camera: Camera,
        owners: npt.NDArray[np.uint32],
        inverse_depths: npt.NDArray[np.float32],
    ) -> None: ...

def ground(
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    block_m: float,
    nodes: int,
    kinds: npt.NDArray[np.uint8],
) -> None: ...
