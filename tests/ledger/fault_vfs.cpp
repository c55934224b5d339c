#include "fault_vfs.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <new>

namespace dlls::ledger {

namespace fs = std::filesystem;

struct fault_vfs::state {
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs face{};
  std::string name;
  mutable std::mutex mutex;
  std::vector<disk_event> record;
  std::uint64_t count = 0, fail_number = 0;
  disk_fault fault = disk_fault::no_space;
  bool sticky = false, failed = false;

  // The answer for this operation: SQLITE_OK (and recorded), or the fault.
  int admit(disk_event e, int io_code) {
    std::lock_guard lock{mutex};
    ++count;
    const bool hit = fail_number != 0 && (sticky ? count >= fail_number : count == fail_number);
    const bool concerns = fault == disk_fault::io_error || e.what == disk_event::kind::write;
    if (hit && concerns) {
      failed = true;
      return fault == disk_fault::io_error ? io_code : SQLITE_FULL;
    }
    record.push_back(std::move(e));
    return SQLITE_OK;
  }
};

namespace {

// SQLite allocates this and, behind it, the real file.
struct shim_file {
  sqlite3_file face;
  fault_vfs::state* owner;
  std::string* name;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

shim_file* shim(sqlite3_file* f) { return reinterpret_cast<shim_file*>(f); }
fault_vfs::state* state_of(sqlite3_vfs* v) { return static_cast<fault_vfs::state*>(v->pAppData); }
std::string last_part(const char* path) { return fs::path{path}.filename().string(); }

int close_file(sqlite3_file* f) {
  auto* s = shim(f);
  const int code = s->real()->pMethods ? s->real()->pMethods->xClose(s->real()) : SQLITE_OK;
  delete s->name;
  return code;
}
int read_file(sqlite3_file* f, void* into, int n, sqlite3_int64 at) {
  return shim(f)->real()->pMethods->xRead(shim(f)->real(), into, n, at);
}
int write_file(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
  auto* s = shim(f);
  disk_event e;
  e.file = *s->name;
  e.offset = static_cast<std::uint64_t>(at);
  e.bytes.assign(static_cast<const char*>(from), static_cast<std::size_t>(n));
  if (const int code = s->owner->admit(std::move(e), SQLITE_IOERR_WRITE); code != SQLITE_OK)
    return code;
  return s->real()->pMethods->xWrite(s->real(), from, n, at);
}
int truncate_file(sqlite3_file* f, sqlite3_int64 size) {
  auto* s = shim(f);
  disk_event e;
  e.what = disk_event::kind::truncate;
  e.file = *s->name;
  e.offset = static_cast<std::uint64_t>(size);
  if (const int code = s->owner->admit(std::move(e), SQLITE_IOERR_TRUNCATE); code != SQLITE_OK)
    return code;
  return s->real()->pMethods->xTruncate(s->real(), size);
}
int sync_file(sqlite3_file* f, int) {
  auto* s = shim(f);
  disk_event e;
  e.what = disk_event::kind::sync;
  e.file = *s->name;
  return s->owner->admit(std::move(e), SQLITE_IOERR_FSYNC);  // the real one would cost time
}
int file_size(sqlite3_file* f, sqlite3_int64* size) {
  return shim(f)->real()->pMethods->xFileSize(shim(f)->real(), size);
}
int lock_file(sqlite3_file* f, int level) {
  return shim(f)->real()->pMethods->xLock(shim(f)->real(), level);
}
int unlock_file(sqlite3_file* f, int level) {
  return shim(f)->real()->pMethods->xUnlock(shim(f)->real(), level);
}
int check_lock(sqlite3_file* f, int* held) {
  return shim(f)->real()->pMethods->xCheckReservedLock(shim(f)->real(), held);
}
int control_file(sqlite3_file* f, int what, void* argument) {
  return shim(f)->real()->pMethods->xFileControl(shim(f)->real(), what, argument);
}
int sector_size(sqlite3_file* f) { return shim(f)->real()->pMethods->xSectorSize(shim(f)->real()); }
int device_characteristics(sqlite3_file* f) {
  return shim(f)->real()->pMethods->xDeviceCharacteristics(shim(f)->real());
}

// Version 1: no shared memory, which an exclusive connection does not need.
const sqlite3_io_methods methods = {
    1,
    close_file,
    read_file,
    write_file,
    truncate_file,
    sync_file,
    file_size,
    lock_file,
    unlock_file,
    check_lock,
    control_file,
    sector_size,
    device_characteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

int open_file(sqlite3_vfs* v, const char* path, sqlite3_file* f, int flags, int* flags_out) {
  auto* s = new (f) shim_file{};
  s->owner = state_of(v);
  const int code = s->owner->real->xOpen(s->owner->real, path, s->real(), flags, flags_out);
  if (!s->real()->pMethods) return code;
  s->name = new std::string{path ? last_part(path) : "temporary"};
  s->face.pMethods = &methods;
  return code;
}
int delete_file(sqlite3_vfs* v, const char* path, int sync_folder) {
  auto* s = state_of(v);
  disk_event e;
  e.what = disk_event::kind::remove;
  e.file = last_part(path);
  e.offset = sync_folder ? 1 : 0;
  if (const int code = s->admit(std::move(e), SQLITE_IOERR_DELETE); code != SQLITE_OK) return code;
  return s->real->xDelete(s->real, path, 0);
}

}  // namespace

fault_vfs::fault_vfs() : state_(std::make_unique<state>()) {
  auto& s = *state_;
  s.real = sqlite3_vfs_find(nullptr);
  s.name = base::random_id("fault-");
  s.face = *s.real;
  s.face.pNext = nullptr;
  s.face.zName = s.name.c_str();
  s.face.szOsFile = static_cast<int>(sizeof(shim_file)) + s.real->szOsFile;
  s.face.xOpen = open_file;
  s.face.xDelete = delete_file;
  s.face.pAppData = &s;
  sqlite3_vfs_register(&s.face, 0);
}
fault_vfs::~fault_vfs() { sqlite3_vfs_unregister(&state_->face); }

const std::string& fault_vfs::name() const { return state_->name; }

void fault_vfs::promise(const std::string& text) {
  std::lock_guard lock{state_->mutex};
  disk_event e;
  e.what = disk_event::kind::promise;
  e.file = text;
  state_->record.push_back(std::move(e));
}

std::vector<disk_event> fault_vfs::record() const {
  std::lock_guard lock{state_->mutex};
  return state_->record;
}

void fault_vfs::fail_at(std::uint64_t number, disk_fault fault, bool sticky) {
  std::lock_guard lock{state_->mutex};
  state_->count = 0;
  state_->failed = false;
  state_->fail_number = number;
  state_->fault = fault;
  state_->sticky = sticky;
}
void fault_vfs::heal() {
  std::lock_guard lock{state_->mutex};
  state_->fail_number = 0;
}
std::uint64_t fault_vfs::operations() const {
  std::lock_guard lock{state_->mutex};
  return state_->count;
}
bool fault_vfs::has_failed() const {
  std::lock_guard lock{state_->mutex};
  return state_->failed;
}

// power_cut_model -------------------------------------------------------------------------------

void power_cut_model::follow(const disk_event& e) {
  using kind = disk_event::kind;
  if (e.what == kind::promise) return;
  auto& f = files_[e.file];
  if (e.what == kind::sync) {
    if (lying_) return;
    if (!f.durable) f.durable.emplace();
    for (const auto& p : f.pending) apply(*f.durable, p);
    f.pending.clear();
  } else if (e.what == kind::remove && e.offset == 1) {
    files_.erase(e.file);
  } else {
    f.pending.push_back(e);
  }
}

// A removal that was not synced empties the file here: its name without its content is the worst
// that can come back, and an empty log or journal means the same to SQLite as none.
void power_cut_model::apply(std::string& content, const disk_event& e) {
  using kind = disk_event::kind;
  if (e.what == kind::remove) content.clear();
  if (e.what == kind::truncate) content.resize(e.offset);
  if (e.what != kind::write) return;
  content.resize(std::max<std::size_t>(content.size(), e.offset + e.bytes.size()));
  content.replace(e.offset, e.bytes.size(), e.bytes);
}

std::string power_cut_model::after_cut(const file_state& f, cut how, base::random_source& random) {
  constexpr std::size_t sector = 512;
  auto content = f.durable.value_or("");
  const auto n = f.pending.size();
  const auto border = n == 0 ? 0 : random.below(n + 1);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& e = f.pending[i];
    const bool is_write = e.what == disk_event::kind::write;
    if (how == cut::none) break;
    if (how == cut::some && random.below(2) == 0) continue;
    if (how == cut::suffix && i < border) continue;
    if (how == cut::torn_prefix && i > border) break;
    if (how == cut::torn_prefix && i == border && is_write) {
      auto half = e;
      half.bytes.resize(std::min(half.bytes.size(), random.below(9) * sector));
      apply(content, half);
    } else if (how == cut::torn_sectors && is_write) {
      for (std::size_t at = 0; at < e.bytes.size(); at += sector) {
        if (random.below(2) == 0) continue;
        auto piece = e;
        piece.offset += at;
        piece.bytes = e.bytes.substr(at, sector);
        apply(content, piece);
      }
    } else {
      apply(content, e);
    }
  }
  return content;
}

void power_cut_model::write_image(
    const fs::path& folder, cut how, base::random_source& random) const {
  for (const auto& [name, f] : files_) {
    const auto content = after_cut(f, how, random);
    if (content.empty() && !f.durable) continue;
    std::ofstream out{folder / name, std::ios::binary};
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
  }
}

}  // namespace dlls::ledger
