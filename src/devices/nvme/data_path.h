// Moves the data of one command: between a namespace's backing, or a page that the controller has made, and the memory
// that the command points to. Data goes straight from the one to the other wherever both are memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "devices/nvme/backing.h"
#include "devices/nvme/bus.h"
#include "devices/nvme/commands.h"
#include "devices/nvme/data_list.h"
#include "devices/nvme/namespaces.h"
#include "devices/nvme/prp.h"
#include "devices/nvme/sgl.h"

namespace barter::devices::nvme {

struct DataPathLimits {
  std::uint64_t max_transfer_bytes = 0;  // MDTS
  bool takes_sgl = true;
};

class DataPath {
 public:
  DataPath(const Bus& bus, const BufferAbilities& abilities, DataPathLimits limits);

  void set_page_bytes(std::uint64_t bytes) { page_bytes_ = bytes; }
  [[nodiscard]] std::uint64_t page_bytes() const { return page_bytes_; }
  [[nodiscard]] const DataPathLimits& limits() const { return limits_; }

  // What a command says of its data, worked out and checked. The other functions follow what this found.
  struct Request {
    std::uint64_t bytes = 0;
    Direction direction = Direction::to_host;
    bool command_is_in_buffer = false;
  };
  [[nodiscard]] Status prepare(const SubmissionEntry& entry, const Request& request);

  // A range of a namespace: `bytes` of prepare() from this offset on.
  struct Source {
    Namespaces& namespaces;
    Backing& backing;
    std::uint64_t offset = 0;
  };
  [[nodiscard]] Status read_medium(const Source& from);
  [[nodiscard]] Status write_medium(const Source& to);
  [[nodiscard]] Status compare_medium(const Source& with);
  // A page of the controller's own, for admin commands. What the host asked for beyond it reads as zeros.
  [[nodiscard]] Status send(std::span<const std::byte> page);
  [[nodiscard]] Status receive(std::span<std::byte> page);

 private:
  [[nodiscard]] Status bounce_read(const Source& from, std::uint64_t address, std::uint64_t bytes);
  [[nodiscard]] Status bounce_write(const Source& to, std::uint64_t address, std::uint64_t bytes);

  static constexpr std::size_t kBounceBytes = 65536;
  const Bus& bus_;
  const BufferAbilities& abilities_;
  const DataPathLimits limits_;
  std::uint64_t page_bytes_ = 4096;
  DataList list_;
  const std::unique_ptr<PrpReader> prps_;
  const std::unique_ptr<SglReader> sgls_;
  const std::unique_ptr<std::byte[]> bounce_;  // where the bus has no memory to show, or the medium must be read twice
  const std::unique_ptr<std::byte[]> medium_;
};

}  // namespace barter::devices::nvme
