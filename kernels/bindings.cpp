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

// Bytes of any C-contiguous array, straight from the buffer protocol. An nb::ndarray argument asks
// for a DLPack capsule first, which on cold caches costs 20 us, twice the fingerprint itself.
class Buffer {
 public:
  explicit Buffer(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_;
};

uint64_t fingerprint(nb::handle payload, size_t max_words) {
  const Buffer buffer(payload);
  const uint8_t* data = buffer.data();
  const size_t size = buffer.size();
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
  m.def("fingerprint", &fingerprint, nb::arg("payload"), nb::arg("max_words"));
  bind_audio_features(m);
  bind_image_prepare(m);
  bind_pillarize(m);
  bind_project_points(m);
}
