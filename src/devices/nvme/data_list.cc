#include "devices/nvme/data_list.h"

namespace barter::devices::nvme {

// Base 2.0, 3.1.3.11 (CMBLOC.CDMMMS) and 3.1.3.12 (CMBSZ.RDS and WDS).
Status DataList::add(const Bus& bus, std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0) return status::kSuccess;
  if (bytes > ~address) return status::kDataTransferError;
  const Place place = bus.place(address, bytes);
  if (place != Place::outside) {
    const bool may_hold = direction_ == Direction::to_host ? abilities_->read_data : abilities_->write_data;
    if (!may_hold) return status::kInvalidUseOfBuffer;
  }
  const bool is_mixed = place == Place::mixed || (has_data_ && place != data_place_);
  if (is_mixed && !abilities_->data_mixed) return status::kInvalidUseOfBuffer;
  data_place_ = place;
  has_data_ = true;
  bytes_ += bytes;
  if (!segments_.empty()) {
    DataSegment& last = segments_.back();
    if (!last.is_discarded && last.address + last.bytes == address) {
      last.bytes += bytes;
      return status::kSuccess;
    }
  }
  if (segments_.size() >= max_segments_) return status::kInvalidSglCount;
  segments_.push_back({address, bytes});
  return status::kSuccess;
}

Status DataList::add_discarded(std::uint64_t bytes) {
  // Base 2.0, 4.1.2: where the data comes from the host, a bit bucket's length counts as 0.
  if (bytes == 0 || direction_ == Direction::from_host) return status::kSuccess;
  if (segments_.size() >= max_segments_) return status::kInvalidSglCount;
  segments_.push_back({0, bytes, true});
  bytes_ += bytes;
  return status::kSuccess;
}

// Base 2.0, 3.1.3.11 (CMBLOC.CDPMLS and CDPCILS) and 3.1.3.12 (CMBSZ.LISTS).
Status DataList::check_list(const Bus& bus, std::uint64_t address, std::uint64_t bytes) {
  const Place place = bus.place(address, bytes);
  if (place != Place::outside && !abilities_->lists) return status::kInvalidUseOfBuffer;
  const bool is_mixed = place == Place::mixed || (has_list_ && place != list_place_);
  if (is_mixed && !abilities_->lists_mixed) return status::kInvalidUseOfBuffer;
  if (place != command_place_ && !abilities_->list_apart_from_command) return status::kInvalidUseOfBuffer;
  list_place_ = place;
  has_list_ = true;
  return status::kSuccess;
}

}  // namespace barter::devices::nvme
