// An exporter whose owner is the program: it can put every request to a Consent of its own. What real exporters share.
#pragma once
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

  // First what the hardware rules out, then the owner.
  [[nodiscard]] Answer decide(const Request& request) final;

 protected:
  // What can't be, whatever the owner says. Any thread.
  [[nodiscard]] virtual std::optional<Answer> ruled_out(const Request& request) const = 0;

 private:
  std::mutex mutex_;  // guards the pointer; what it points to never changes
  std::shared_ptr<const Consent> consent_;
};

}  // namespace barter::peer
