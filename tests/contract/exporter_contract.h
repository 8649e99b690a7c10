// What every peer::Exporter keeps (src/peer/exporter.h). Run it on a new one with check_exporter(), from a test.
#pragma once
#include <cstdint>

#include <gtest/gtest.h>

#include "barter/memory.hpp"
#include "peer/exporter.h"

namespace barter::contract {

inline void check_exporter(peer::Exporter& exporter) {
  const std::uint64_t bytes = exporter.size_bytes();
  ASSERT_GT(bytes, 0u);
  EXPECT_NE(exporter.bus_address().value, 0u) << "memory lies somewhere on the bus";
  EXPECT_LE(exporter.bus_address().value, ~std::uint64_t{0} - bytes) << "and does not wrap around";
  EXPECT_EQ(exporter.bus_address(), exporter.bus_address());
  EXPECT_NE(static_cast<unsigned>(exporter.hardware_access()) & 3u, 0u) << "memory that takes no access is no exporter";

  // The CPU's view of a part is that part whole, or nothing.
  for (const MemoryRange range : {MemoryRange{0, bytes}, MemoryRange{0, 1}, MemoryRange{bytes - 1, 1}}) {
    const auto view = exporter.cpu_bytes(range);
    EXPECT_TRUE(view.empty() || view.size() == range.bytes);
  }
  if (const auto all = exporter.cpu_bytes({0, bytes}); !all.empty()) {
    EXPECT_EQ(exporter.cpu_bytes({bytes - 1, 1}).data(), all.data() + bytes - 1);
  }

  // Any request gets an answer; one that is refused or sent to host memory says why.
  for (const Access access : {Access::read, Access::write, Access::read_write}) {
    const Answer answer = exporter.decide(
        {.importer = {.bus = 0xfe}, .range = {0, bytes}, .access = access, .route = Route::bus_address});
    EXPECT_TRUE(answer.kind == Answer::Kind::direct || !answer.reason.empty());
  }
}

}  // namespace barter::contract
