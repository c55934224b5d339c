// Files: their bytes in the artifact store under their checksum, their names in the ledger.
#include <fmt/core.h>

#include "actors/cloud_backend.hpp"
#include "actors/cloud_records.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::result;

namespace {

class stored_upload final : public gateway::upload,
                            public std::enable_shared_from_this<stored_upload> {
 public:
  stored_upload(
      std::string owner, std::string filename, ledger::artifact_writer writer,
      backend_services services)
      : owner_(std::move(owner)),
        filename_(std::move(filename)),
        writer_(std::make_shared<ledger::artifact_writer>(std::move(writer))),
        services_(std::move(services)) {}

  result<> write(std::span<const std::byte> bytes) override { return writer_->append(bytes); }

  void finish(
      std::string purpose, std::optional<std::int64_t> expires_after_s,
      gateway::reply<gateway::file_info> done) override {
    ledger::file entry;
    entry.owner = owner_;
    entry.filename = filename_;
    entry.purpose = std::move(purpose);
    entry.bytes = writer_->size();
    if (expires_after_s)
      entry.expires_ms = services_.clock->wall().count() + *expires_after_s * 1000;
    // The fsync is the disk thread's; the entry follows the bytes.
    auto queued =
        services_.disk->submit([entry, done, writer = writer_, jobs = services_.jobs]() mutable {
          auto sealed = writer->seal();
          if (!sealed) return done(sealed.error());
          entry.sha256 = sealed->sha256;
          jobs->add_file(entry, in_terms_of<ledger::file>(done));
        });
    if (!queued) done(queued.error());
  }

 private:
  std::string owner_, filename_;
  std::shared_ptr<ledger::artifact_writer> writer_;
  backend_services services_;
};

class blob_content final : public gateway::content {
 public:
  blob_content(ledger::artifact_reader reader, std::shared_ptr<runtime::worker_pool> disk)
      : reader_(std::make_shared<ledger::artifact_reader>(std::move(reader))),
        disk_(std::move(disk)) {}
  std::uint64_t size() const override { return reader_->size(); }
  void read(std::uint64_t offset, std::size_t bytes_max, gateway::reply<std::string> got) override {
    auto queued = disk_->submit([reader = reader_, offset, bytes_max, got] {
      std::string bytes(bytes_max, '\0');
      auto read = reader->read_at(offset, std::as_writable_bytes(std::span{bytes}));
      if (!read) return got(read.error());
      bytes.resize(*read);
      got(std::move(bytes));
    });
    if (!queued) got(queued.error());
  }

 private:
  std::shared_ptr<ledger::artifact_reader> reader_;
  std::shared_ptr<runtime::worker_pool> disk_;
};

}  // namespace

result<std::unique_ptr<gateway::upload>> cloud_backend::begin_upload(
    gateway::caller who, std::string filename, std::uint64_t bytes_max) {
  if (auto room = services_.jobs->room_for_upload(bytes_max); !room) return room.error();
  ledger::expectation what;
  what.bytes_max = bytes_max;
  auto writer = services_.artifacts->begin(what);
  if (!writer) return writer.error();
  return std::unique_ptr<gateway::upload>{
      new stored_upload(std::move(who.owner), std::move(filename), std::move(*writer), services_)};
}

void cloud_backend::list_files(
    gateway::caller who, std::string purpose, gateway::page_request which,
    gateway::reply<gateway::page<gateway::file_info>> done) {
  ledger::file_filter filter;
  filter.owner = who.owner;
  filter.purpose = std::move(purpose);
  filter.after = which.after;
  filter.limit = std::min(which.limit, ledger::limits::page_items_max);
  if (which.ascending) filter.order = ledger::order::oldest_first;
  services_.jobs->list_files(filter, page_in_terms_of<ledger::file>(std::move(done)));
}

void cloud_backend::find_file(
    gateway::caller who, std::string id, gateway::reply<gateway::file_info> done) {
  services_.jobs->find_file(who.owner, id, in_terms_of<ledger::file>(std::move(done)));
}

void cloud_backend::open_blob(
    std::string sha256, gateway::reply<std::shared_ptr<gateway::content>> done) {
  auto reader = services_.artifacts->open_blob(sha256);
  if (!reader) return done(reader.error());
  done(std::make_shared<blob_content>(std::move(*reader), services_.disk));
}

void cloud_backend::open_file(
    gateway::caller who, std::string id, gateway::reply<std::shared_ptr<gateway::content>> done) {
  services_.jobs->find_file(
      who.owner, id,
      [self = shared_from_this(), done = std::move(done)](result<ledger::file> found) {
        if (!found) return done(found.error());
        self->open_blob(found->sha256, done);
      });
}

void cloud_backend::delete_file(
    gateway::caller who, std::string id, gateway::reply<gateway::file_info> done) {
  // The bytes go with the coordinator's next sweep.
  services_.jobs->delete_file(who.owner, id, in_terms_of<ledger::file>(std::move(done)));
}

}  // namespace dlls::actors
