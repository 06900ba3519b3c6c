// Python bindings of the CPU twin. Private: fusion_rt/kernels.py and fusion_rt/preprocess are the
// typed doors.
#include "bindings.h"

#include "fingerprint.cuh"

namespace nb = nanobind;

void bind_audio_features(nb::module_& m);
void bind_image_prepare(nb::module_& m);
void bind_pillarize(nb::module_& m);
void bind_project_points(nb::module_& m);

namespace {

uint64_t fingerprint(Bytes payload, size_t max_words) {
  const uint8_t* data = payload.data();
  const size_t size = payload.size();
  uint64_t sum = fusion_rt::mix64(size);
  if (size < sizeof(uint64_t)) {
    for (size_t i = 0; i < size; ++i) sum += fusion_rt::mix64((i + 1) * 256 + data[i]);
    return sum;
  }
  const size_t words = size / sizeof(uint64_t) < max_words ? size / sizeof(uint64_t) : max_words;
  for (size_t i = 0; i < words; ++i) sum += fusion_rt::fingerprint_term(data, size, i, words);
  return sum;
}

}  // namespace

NB_MODULE(_kernels, m) {
  m.def("fingerprint", &fingerprint, nb::arg("payload"), nb::arg("max_words"),
        nb::call_guard<nb::gil_scoped_release>());
  bind_audio_features(m);
  bind_image_prepare(m);
  bind_pillarize(m);
  bind_project_points(m);
}
