// Python bindings of the simulator's camera and street plan. Private: fusion_rt/sim/camera.py is
// the typed door.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "camera.h"

namespace nb = nanobind;
using namespace fusion_rt::sim;

namespace {

template <typename T, typename... Shape>
using Array = nb::ndarray<const T, Shape..., nb::c_contig, nb::device::cpu>;
template <typename T, typename... Shape>
using Output = nb::ndarray<T, Shape..., nb::c_contig, nb::device::cpu>;
using Rows3 = Array<float, nb::shape<-1, 3>>;
using Triple = std::array<float, 3>;

Vec3 vector(const Triple& v) { return {v[0], v[1], v[2]}; }
Vec3 row3(const Rows3& rows, size_t i) { return {rows(i, 0), rows(i, 1), rows(i, 2)}; }

std::vector<Vec3> vectors(const Rows3& rows) {
  std::vector<Vec3> out(rows.shape(0));
  for (size_t i = 0; i < out.size(); ++i) out[i] = row3(rows, i);
  return out;
}

Transform transform(const float* row) {  // 9 of the rotation, 3 of the shift
  Transform t{};
  std::copy(row, row + 9, t.rotation.begin());
  t.shift = {row[9], row[10], row[11]};
  return t;
}

// What is in view: one row per instance in every array.
struct Instances {
  Array<int32_t, nb::ndim<1>> meshes;
  Array<float, nb::shape<-1, 12>> transforms;
  Rows3 colours, velocities;
  Array<float, nb::ndim<1>> yaw_rates;
  Array<uint8_t, nb::ndim<1>> flags;  // 1 casts shadow, 2 counted, 4 sunlit, 8 beacon lit

  std::vector<Instance> resolved(const Camera& camera) const {
    const size_t count = meshes.shape(0);
    if (transforms.shape(0) != count || colours.shape(0) != count || velocities.shape(0) != count ||
        yaw_rates.shape(0) != count || flags.shape(0) != count || count >= 0xFFFF)
      throw std::invalid_argument("instances: expected equal lengths below 65535");
    std::vector<Instance> out;
    for (size_t i = 0; i < count; ++i) {
      const uint8_t f = flags(i);
      out.push_back({camera.mesh(meshes(i)), transform(transforms.data() + 12 * i),
                     row3(colours, i), row3(velocities, i), yaw_rates(i), (f & 1) != 0,
                     (f & 2) != 0, (f & 4) != 0, (f & 8) != 0});
    }
    return out;
  }
};

int add_mesh(Camera& camera, Rows3 vertices, Array<int32_t, nb::shape<-1, 3>> triangles,
             Array<uint8_t, nb::ndim<1>> textures, Rows3 colours) {
  const size_t count = triangles.shape(0);
  if (textures.shape(0) != count || colours.shape(0) != count || count > 0xFFFF)
    throw std::invalid_argument(
        "mesh: expected a texture and a colour for each of <= 65535 triangles");
  Mesh mesh;
  mesh.vertices = vectors(vertices);
  mesh.colours = vectors(colours);
  mesh.textures.assign(textures.data(), textures.data() + count);
  for (size_t i = 0; i < count; ++i) {
    mesh.triangles.push_back({triangles(i, 0), triangles(i, 1), triangles(i, 2)});
    for (const int32_t corner : mesh.triangles.back())
      if (corner < 0 || static_cast<size_t>(corner) >= mesh.vertices.size())
        throw std::invalid_argument("mesh: a triangle names a vertex that is not there");
  }
  return camera.add_mesh(std::move(mesh));
}

void draw(Camera& camera, const Scene& scene, const Instances& instances,
          Output<int64_t, nb::shape<-1, 2>> pixels) {
  const std::vector<Instance> resolved = instances.resolved(camera);
  if (pixels.shape(0) != resolved.size())
    throw std::invalid_argument("pixels: one row per instance");
  const Visibility seen = camera.draw(scene, resolved);
  for (size_t i = 0; i < resolved.size(); ++i) {
    pixels(i, 0) = seen.shown[i];
    pixels(i, 1) = seen.alone[i];
  }
}

void light(Camera& camera, const Scene& scene, const Instances& instances,
           Array<float, nb::shape<-1, 7>> glows, float rain) {
  std::vector<Glow> lamps;
  for (size_t i = 0; i < glows.shape(0); ++i)
    lamps.push_back({{glows(i, 0), glows(i, 1), glows(i, 2)},
                     {glows(i, 3), glows(i, 4), glows(i, 5)},
                     glows(i, 6)});
  camera.light(scene, instances.resolved(camera), lamps, rain);
}

void check_size(const LensMap& map, size_t got) {
  if (got != map.size()) throw std::invalid_argument("image: not of the size of the lens map");
}

void develop(const LensMap& map, const Camera& camera, const Scene& scene, Rows3 drops, bool is_bgr,
             Output<uint8_t, nb::shape<-1, -1, 3>> image) {
  check_size(map, image.shape(0) * image.shape(1));
  std::vector<Drop> water;
  for (size_t i = 0; i < drops.shape(0); ++i)
    water.push_back({drops(i, 0), drops(i, 1), drops(i, 2)});
  map.develop(camera.codes(), water, scene.grain, scene.noise, is_bgr, image.data());
}

void look_up(const LensMap& map, const Camera& camera, Output<uint32_t, nb::ndim<2>> owners,
             Output<float, nb::ndim<2>> inverse_depths) {
  check_size(map, owners.shape(0) * owners.shape(1));
  check_size(map, inverse_depths.shape(0) * inverse_depths.shape(1));
  map.look_up(camera.raster().owner, owners.data());
  map.look_up(camera.raster().inverse_depth, inverse_depths.data());
}

void ground(Array<float, nb::ndim<1>> x, Array<float, nb::ndim<1>> y, float block_m, int nodes,
            Output<uint8_t, nb::ndim<1>> kinds) {
  if (x.shape(0) != y.shape(0) || x.shape(0) != kinds.shape(0))
    throw std::invalid_argument("ground: expected equal lengths");
  const StreetPlan plan{block_m, nodes};
  for (size_t i = 0; i < x.shape(0); ++i)
    kinds(i) = static_cast<uint8_t>(ground_at(x(i), y(i), plan));
}

// Properties of a scene that are triples in Python and vectors here.
template <Vec3 Scene::* Field>
void def_vector(nb::class_<Scene>& scene, const char* name) {
  scene.def_prop_rw(
      name, [](const Scene& s) { return Triple{(s.*Field).x, (s.*Field).y, (s.*Field).z}; },
      [](Scene& s, const Triple& v) { s.*Field = vector(v); });
}

void bind_scene(nb::module_& m) {
  nb::class_<Scene> scene(m, "Scene");
  scene.def(nb::init<>())
      .def("set_plan",
           [](Scene& s, float block_m, int nodes, int lamps_per_block) {
             s.plan = {block_m, nodes};
             s.lamps_per_block = lamps_per_block;
           })
      .def("set_camera",
           [](Scene& s, Array<float, nb::shape<12>> camera_from_city) {
             s.camera_from_city = transform(camera_from_city.data());
           })
      .def_rw("yaw_rate", &Scene::yaw_rate)
      .def_rw("cloud", &Scene::cloud)
      .def_rw("shadow", &Scene::shadow)
      .def_rw("lamps", &Scene::lamps)
      .def_rw("wetness", &Scene::wetness)
      .def_rw("fog_per_m", &Scene::fog_per_m)
      .def_rw("head_lamp_power", &Scene::head_lamp_power)
      .def_rw("tunnels", &Scene::tunnels)
      .def_rw("gain", &Scene::gain)
      .def_rw("exposure_s", &Scene::exposure_s)
      .def_rw("grain", &Scene::grain)
      .def_rw("noise", &Scene::noise);
  def_vector<&Scene::velocity>(scene, "velocity");
  def_vector<&Scene::to_sun>(scene, "to_sun");
  def_vector<&Scene::sun>(scene, "sun");
  def_vector<&Scene::zenith>(scene, "zenith");
  def_vector<&Scene::horizon>(scene, "horizon");
  def_vector<&Scene::fog>(scene, "fog");
  def_vector<&Scene::head_lamp>(scene, "head_lamp");
  def_vector<&Scene::head_lamp_way>(scene, "head_lamp_way");
}

}  // namespace

NB_MODULE(_sim, m) {
  bind_scene(m);
  nb::class_<Instances>(m, "Instances")
      .def("__init__",
           [](Instances* self, Array<int32_t, nb::ndim<1>> meshes,
              Array<float, nb::shape<-1, 12>> transforms, Rows3 colours, Rows3 velocities,
              Array<float, nb::ndim<1>> yaw_rates, Array<uint8_t, nb::ndim<1>> flags) {
             new (self) Instances{meshes, transforms, colours, velocities, yaw_rates, flags};
           });
  nb::class_<Camera>(m, "Camera")
      .def("__init__",
           [](Camera* self, int width, int height, float fx, float fy, float cx, float cy,
              Rows3 ground_colours) {
             if (width < 2 || height < 2 || width > 16384 || height > 16384)
               throw std::invalid_argument("camera: expected 2..16384 pixels per side");
             new (self) Camera({width, height, fx, fy, cx, cy}, vectors(ground_colours));
           })
      .def("add_mesh", &add_mesh)
      .def("draw", &draw)
      .def("light", &light, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<LensMap>(m, "LensMap")
      .def("__init__",
           [](LensMap* self, Array<float, nb::shape<-1, -1, 2>> map, int width, int height) {
             new (self) LensMap(map.data(), static_cast<int>(map.shape(1)),
                                static_cast<int>(map.shape(0)), width, height);
           })
      .def("develop", &develop, nb::call_guard<nb::gil_scoped_release>())
      .def("look_up", &look_up);
  m.def("ground", &ground);
}
