#include "drivers/nvme/cmb_exporter.h"

#include "drivers/command_register.h"

namespace barter::drivers::nvme {
namespace {

std::uint64_t exported_bytes(Controller& controller) {
  const auto& info = controller.controller_memory();
  return info ? info->size_bytes - controller.facts().controller_memory_for_queues_bytes : 0;
}

bool includes(Access access, Access part) { return (static_cast<unsigned>(access) & static_cast<unsigned>(part)) != 0; }

}  // namespace

CmbExporter::CmbExporter(Controller& controller)
    : controller_(controller),
      function_(controller.function().bdf()),
      info_(controller.controller_memory().value_or(ControllerMemoryInfo{})),
      size_bytes_(exported_bytes(controller)),
      address_(controller.controller_memory_address()),
      bytes_(controller.controller_memory_bytes()) {}

Access CmbExporter::hardware_access() const {
  return info_.read_data || info_.write_data ? Access::read_write : Access::read;
}

std::span<std::byte> CmbExporter::cpu_bytes(MemoryRange range) {
  if (!MemoryRange{0, size_bytes_}.contains(range) || bytes_.size() < size_bytes_) return {};
  return bytes_.subspan(range.offset, range.bytes);
}

bool CmbExporter::is_present() { return is_there(controller_.function()); }

std::optional<Answer> CmbExporter::ruled_out(const Request& request) const {
  if (!MemoryRange{0, size_bytes_}.contains(request.range))
    return Answer::refuse("the range is not within the drive's memory buffer");
  const bool is_own = request.importer == function_;
  // The drive's own Read and a peer's fetch go one way, a peer's store and the drive's own Write the other.
  const Access by_read_data = is_own ? Access::write : Access::read;
  const Access by_write_data = is_own ? Access::read : Access::write;
  if (includes(request.access, by_read_data) && !info_.read_data)
    return Answer::refuse("the drive's memory buffer takes no data that the drive reads (CMBSZ.RDS is 0)");
  if (includes(request.access, by_write_data) && !info_.write_data)
    return Answer::refuse("the drive's memory buffer takes no data that the drive is to write (CMBSZ.WDS is 0)");
  return std::nullopt;
}

}  // namespace barter::drivers::nvme
