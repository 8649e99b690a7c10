// An exporter whose owner is the program: it can put every request to a Consent of its own. What real exporters share.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "peer/exporter.h"

namespace barter::peer {

class OwnedExporter : public Exporter {
 public:
  // Decides from now on; empty: as at first, every request that the hardware can serve is direct. It may be called from
  // several threads at once.
  void on_request(Consent consent);

  // See pin_limit_bytes() of the seam; none at first. What is pinned already stays so.
  void limit_pins(std::optional<std::uint64_t> bytes);
  [[nodiscard]] std::optional<std::uint64_t> pin_limit_bytes() const final;

  // Told from now on of everything granted that is gone again; empty: as at first, nobody is.
  void on_unmap(Unmapped told);
  void unmapped(const Request& granted) final;

  // First what the hardware rules out, then the owner.
  [[nodiscard]] Answer decide(const Request& request) final;

 protected:
  // What can't be, whatever the owner says. Any thread.
  [[nodiscard]] virtual std::optional<Answer> ruled_out(const Request& request) const = 0;

 private:
  mutable std::mutex mutex_;  // guards what follows; what the pointers point to never changes
  std::optional<std::uint64_t> pin_limit_bytes_;
  std::shared_ptr<const Consent> consent_;
  std::shared_ptr<const Unmapped> told_;
};

}  // namespace barter::peer
