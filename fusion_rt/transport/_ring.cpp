// The slots of a payload ring: locks, generations, and leases that give a slot back by themselves.
// Private: fusion_rt/transport/ring.py is the typed door, and tells the rules.
//
// Compiled because a node that wakes up 30 times a second runs on cold caches, where each of the
// Python calls this replaces costs several microseconds. All entry points hold the GIL; so does the
// destructor of a lease, in whichever thread its last view dies.
#include <fcntl.h>
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

namespace nb = nanobind;

namespace {

constexpr size_t kCacheLine = 64;  // one generation word on each

[[noreturn]] void throw_errno() {
  PyErr_SetFromErrno(PyExc_OSError);
  throw nb::python_error();
}

// The ring's file, mapped. Shared by all that refer to its memory, so the last one unmaps it.
class Mapping {
 public:
  Mapping(int fd, size_t slots, size_t stride, size_t data_offset, int protection)
      : slots(slots), stride(stride), data_offset_(data_offset) {
    fd_ = fcntl(fd, F_DUPFD_CLOEXEC, 0);  // the same file description, so the same locks
    if (fd_ < 0) throw_errno();
    // Populated: its pages fault in now, not under the first frames.
    void* memory = mmap(nullptr, size(), protection, MAP_SHARED | MAP_POPULATE, fd_, 0);
    if (memory == MAP_FAILED) {
      close(fd_);
      throw_errno();
    }
    memory_ = static_cast<uint8_t*>(memory);
  }
  ~Mapping() {
    munmap(memory_, size());
    close(fd_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  uint8_t* data(size_t slot) const { return memory_ + data_offset_ + slot * stride; }
  uint64_t* generation(size_t slot) const {
    return reinterpret_cast<uint64_t*>(memory_ + slot * kCacheLine);
  }
  // Locks the slot for this file description; false when another one has it.
  bool lock(short kind, size_t slot) const {
    if (set_lock(kind, slot)) return true;
    if (errno != EAGAIN && errno != EACCES) throw_errno();
    return false;
  }
  void unlock(size_t slot) const { set_lock(F_UNLCK, slot); }

  const size_t slots;
  const size_t stride;

 private:
  size_t size() const { return data_offset_ + slots * stride; }
  bool set_lock(short kind, size_t slot) const {
    struct flock request = {};
    request.l_type = kind;
    request.l_whence = SEEK_SET;
    request.l_start = static_cast<off_t>(slot);
    request.l_len = 1;
    return fcntl(fd_, F_OFD_SETLK, &request) == 0;
  }

  int fd_;
  size_t data_offset_;
  uint8_t* memory_;
};

// One slot's memory as a Python buffer.
struct SlotMemory {
  std::shared_ptr<Mapping> mapping;
  size_t slot;
  bool is_readonly;
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  const SlotMemory* memory = nb::inst_ptr<SlotMemory>(self);
  return PyBuffer_FillInfo(view, self, memory->mapping->data(memory->slot),
                           static_cast<Py_ssize_t>(memory->mapping->stride), memory->is_readonly,
                           flags);
}

PyType_Slot buffer_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}, {0, nullptr}};

class Writer {
 public:
  Writer(int fd, size_t slots, size_t stride, size_t data_offset)
      : mapping_(
            std::make_shared<Mapping>(fd, slots, stride, data_offset, PROT_READ | PROT_WRITE)) {}

  std::optional<size_t> claim() {
    for (size_t step = 0; step < mapping_->slots; ++step) {
      const size_t slot = (next_ + step) % mapping_->slots;
      if (!mapping_->lock(F_WRLCK, slot)) continue;
      next_ = (slot + 1) % mapping_->slots;
      store(slot, load(slot) | 1);
      return slot;
    }
    return std::nullopt;
  }

  uint64_t release(size_t slot) {
    const uint64_t generation = (load(slot) | 1) + 1;
    store(slot, generation);
    mapping_->unlock(slot);
    return generation;
  }

  SlotMemory memory(size_t slot) const { return {mapping_, slot, false}; }

 private:
  uint64_t load(size_t slot) const {
    return __atomic_load_n(mapping_->generation(slot), __ATOMIC_RELAXED);
  }
  void store(size_t slot, uint64_t generation) {
    __atomic_store_n(mapping_->generation(slot), generation, __ATOMIC_RELEASE);
  }

  std::shared_ptr<Mapping> mapping_;
  size_t next_ = 0;
};

// How many leases of each slot are out; shared with them.
struct Holds {
  std::vector<int> count;
  int slots = 0;  // with at least one
};

// A slot that was taken: locked until the last lease of it is gone.
struct Lease : SlotMemory {
  Lease(std::shared_ptr<Mapping> mapping, size_t slot, std::shared_ptr<Holds> holds)
      : SlotMemory{std::move(mapping), slot, true}, holds(std::move(holds)) {
    if (this->holds->count[slot]++ == 0) ++this->holds->slots;
  }
  ~Lease() {
    if (--holds->count[slot] > 0) return;
    --holds->slots;
    mapping->unlock(slot);
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  std::shared_ptr<Holds> holds;
};

class Reader {
 public:
  Reader(int fd, size_t slots, size_t stride, size_t data_offset)
      : mapping_(std::make_shared<Mapping>(fd, slots, stride, data_offset, PROT_READ)),
        holds_(std::make_shared<Holds>()) {
    holds_->count.resize(slots);
  }

  // A lease as a Python object, or None when the slot was overwritten.
  nb::object take(size_t slot, uint64_t generation) {
    // Taken twice, for a message delivered twice: one lock serves both.
    const bool is_held = holds_->count.at(slot) > 0;
    if (!is_held && !mapping_->lock(F_RDLCK, slot)) return nb::none();
    if (__atomic_load_n(mapping_->generation(slot), __ATOMIC_ACQUIRE) != generation) {
      if (!is_held) mapping_->unlock(slot);
      return nb::none();
    }
    return nb::cast(new Lease(mapping_, slot, holds_), nb::rv_policy::take_ownership);
  }

  int held() const { return holds_->slots; }

 private:
  std::shared_ptr<Mapping> mapping_;
  std::shared_ptr<Holds> holds_;
};

}  // namespace

NB_MODULE(_ring, m) {
  nb::class_<SlotMemory>(m, "SlotMemory", nb::type_slots(buffer_slots));
  nb::class_<Lease>(m, "Lease", nb::type_slots(buffer_slots));
  nb::class_<Writer>(m, "Writer")
      .def(nb::init<int, size_t, size_t, size_t>(), nb::arg("fd"), nb::arg("slots"),
           nb::arg("stride"), nb::arg("data_offset"))
      .def("claim", &Writer::claim)
      .def("release", &Writer::release)
      .def("memory", &Writer::memory);
  nb::class_<Reader>(m, "Reader")
      .def(nb::init<int, size_t, size_t, size_t>(), nb::arg("fd"), nb::arg("slots"),
           nb::arg("stride"), nb::arg("data_offset"))
      .def("take", &Reader::take)
      .def_prop_ro("held", &Reader::held);
}
