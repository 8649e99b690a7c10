#include "peer/owned_exporter.h"

#include <utility>

namespace barter::peer {

void OwnedExporter::on_request(Consent consent) {
  auto shared = consent ? std::make_shared<const Consent>(std::move(consent)) : nullptr;
  const std::lock_guard lock(mutex_);
  consent_.swap(shared);
}

Answer OwnedExporter::decide(const Request& request) {
  if (auto answer = ruled_out(request)) return *std::move(answer);
  std::shared_ptr<const Consent> consent;
  {
    const std::lock_guard lock(mutex_);
    consent = consent_;
  }
  return consent ? (*consent)(request) : Answer::direct();
}

}  // namespace barter::peer
