// CPU side of project_points.cuh.
#include "project_points.cuh"

#include "bindings.h"

namespace nb = nanobind;
using namespace fusion_rt;

namespace {

FUSION_SIMD_CLONES void project_all(const float* points, size_t count, size_t stride,
                                    const ProjectParams& params, float* pixels) {
  const ProjectParams p = params;
  for (size_t i = 0; i < count; ++i) {
    const float* point = points + i * stride;
    const Projected at = project(p, point[0], point[1], point[2]);
    pixels[3 * i] = at.u;
    pixels[3 * i + 1] = at.v;
    pixels[3 * i + 2] = at.depth;
  }
}

void project_points(Floats<2> points, Bytes params_bytes, MutableFloats<2> pixels) {
  const ProjectParams params = struct_from_bytes<ProjectParams>(params_bytes);
  require(points.shape(1) >= 3, "points");
  require(pixels.shape(0) == points.shape(0) && pixels.shape(1) == 3, "pixels");
  nb::gil_scoped_release unlocked;
  // Sweeps have rows of 5, plain clouds of 3: known strides let the compiler use shuffles.
  const size_t stride = points.shape(1), count = points.shape(0);
  if (stride == 5) return project_all(points.data(), count, 5, params, pixels.data());
  if (stride == 3) return project_all(points.data(), count, 3, params, pixels.data());
  project_all(points.data(), count, stride, params, pixels.data());
}

}  // namespace

void bind_project_points(nb::module_& m) {
  m.def("project_points", &project_points, nb::arg("points"), nb::arg("params"), nb::arg("pixels"));
}
