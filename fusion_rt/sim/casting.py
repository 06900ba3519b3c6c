"""Casts rays at meshes with Embree, and keeps what is known of the triangle each one hits."""

import msgspec
import numpy as np
import numpy.typing as npt

from fusion_rt.drivers.port import from_extra
from fusion_rt.sim.materials import CLOTH, PAINT, reflectivities
from fusion_rt.sim.meshes import Mesh

with from_extra("sim"):
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

Rays = npt.NDArray[np.float32]
"""(N, 3), contiguous."""
_MISS = -1


class Hits(msgspec.Struct, frozen=True, eq=False):
    """Where rays meet a mesh."""

    range_m: npt.NDArray[np.float32]
    """(N,), in units of the rays' directions; inf where they miss."""
    triangles: npt.NDArray[np.int32]
    """(N,); -1 where they miss."""


class Target:
    """A mesh that rays are cast at."""

    def __init__(self, mesh: Mesh) -> None:
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, mesh.vertices_m, mesh.triangles)
        self.normals = mesh.normals()
        self.reflectivity = reflectivities()[mesh.materials]
        """(T,)"""
        self.is_coloured = np.isin(mesh.materials, (PAINT, CLOTH))
        """(T,): whether the owner's colour counts."""

    def cast(self, origins: Rays, directions: Rays) -> Hits:
        """The nearest hit of each ray."""
        found = self._scene.run(origins, directions, output=1)
        triangles: npt.NDArray[np.int32] = found["primID"]
        range_m = np.where(triangles == _MISS, np.float32(np.inf), found["tfar"])
        return Hits(range_m, triangles)
