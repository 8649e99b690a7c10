// What owners of memory answer.
#include "world.h"

namespace barter::sim {
namespace {

enum Mood : std::uint8_t { kShares, kByWayOfHost, kRefuses, kHalf, kWavers, kTakesBack, kMoods };

}  // namespace

Answer World::decide(std::uint32_t index, const Request& request) {
  ++answers_;
  last_range_ = request.range;
  const auto answer = [&](Answer given) {
    last_answer_ = given.kind;
    return given;
  };
  switch (units_[index].owners_mood) {
    case kByWayOfHost:
      return answer(Answer::by_way_of_host());
    case kRefuses:
      return answer(Answer::refuse("nothing is shared today"));
    case kHalf:  // one half of the memory and not the other
      if (request.range.offset + request.range.bytes > places_[*units_[index].memory].all().size() / 2)
        return answer(Answer::refuse("only the first half is shared"));
      break;
    case kWavers:
      if (chance_.chance(0.3)) return answer(Answer::by_way_of_host("not just now"));
      if (chance_.chance(0.3)) return answer(Answer::refuse("not just now"));
      break;
    case kTakesBack:  // in the middle of being asked
      if (chance_.chance(0.3))
        for (SharedRegion& region : regions_) {
          if (!region.handle || region.unit != index || region.is_revoked) continue;
          if (!region.handle->range().contains({request.range.offset, 1})) continue;
          const std::uint64_t serial = region.serial;
          if (take_back(How::invalidate, region, some_deadline())) asked_within_ = serial;
          break;
        }
      break;
    default:
      break;
  }
  return answer(Answer::direct());
}

Outcome World::change_consent() {
  Unit& unit = units_[below(units_.size())];
  unit.owners_mood = chance_.chance(0.6) ? std::uint8_t{kShares} : static_cast<std::uint8_t>(below(kMoods));
  say("of {}: {}", unit.name, unit.owners_mood);
  return Outcome::done;
}

}  // namespace barter::sim
