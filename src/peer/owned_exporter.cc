#include "peer/owned_exporter.h"

#include <utility>

namespace barter::peer {

void OwnedExporter::on_request(Consent consent) {
  auto shared = consent ? std::make_shared<const Consent>(std::move(consent)) : nullptr;
  const std::lock_guard lock(mutex_);
  consent_.swap(shared);
}

void OwnedExporter::on_unmap(Unmapped told) {
  auto shared = told ? std::make_shared<const Unmapped>(std::move(told)) : nullptr;
  const std::lock_guard lock(mutex_);
  told_.swap(shared);
}

void OwnedExporter::unmapped(const Request& granted) {
  std::shared_ptr<const Unmapped> told;
  {
    const std::lock_guard lock(mutex_);
    told = told_;
  }
  if (told) (*told)(granted);
}

void OwnedExporter::limit_pins(std::optional<std::uint64_t> bytes) {
  const std::lock_guard lock(mutex_);
  pin_limit_bytes_ = bytes;
}

std::optional<std::uint64_t> OwnedExporter::pin_limit_bytes() const {
  const std::lock_guard lock(mutex_);
  return pin_limit_bytes_;
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
