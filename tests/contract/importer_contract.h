// What every peer::Importer keeps (src/peer/importer.h). Run it on a new one with check_importer(), from a test; the
// importer can't do DMA afterwards.
#pragma once
#include <gtest/gtest.h>

#include "barter/memory.hpp"
#include "peer/importer.h"

namespace barter::contract {

// `reaches` performs one request of the importer to an address that it was given; `target` is memory on the bus, on a
// route that leads through the importer's domain.
template <class Reaches>
void check_importer(peer::Importer& importer, BusAddress target, Reaches&& reaches) {
  EXPECT_EQ(importer.function(), importer.function());
  EXPECT_EQ(&importer.domain(), &importer.domain());

  // Mappings that it never heard of can be taken back too: map() may still be on its way to whoever asked for it.
  importer.invalidate({.slot = 12345, .generation = 1});
  importer.make_progress();

  const auto address = importer.domain().map(target, 4096, Access::read_write);
  ASSERT_TRUE(address) << address.error().message();
  EXPECT_TRUE(reaches(*address));
  // After isolate(), nothing of it reaches anything, mapped or not. Twice is no harm.
  EXPECT_TRUE(importer.isolate());
  EXPECT_FALSE(reaches(*address));
  EXPECT_TRUE(importer.isolate());
  importer.domain().unmap(*address, 4096);
}

}  // namespace barter::contract
