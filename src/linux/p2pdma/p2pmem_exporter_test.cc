// What can be said without a device: the attributes, and the refusals. The rest runs in a guest (tests/guest/kernel_drives).
#include "linux/p2pdma/p2pmem_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "linux/p2pdma/kernel_importer.h"
#include "linux/sysfs/test_tree.h"

namespace barter::linux_os {
namespace {

using test::Tree;
using ::testing::HasSubstr;

TEST(P2pmem, ReadsItsPool) {
  Tree tree;
  EXPECT_EQ(*read_p2pmem(tree.root()), std::nullopt);
  Tree::write(tree.root() / "p2pmem" / "size", "16777216\n");
  Tree::write(tree.root() / "p2pmem" / "available", "4096\n");
  Tree::write(tree.root() / "p2pmem" / "published", "1\n");
  const auto pool = read_p2pmem(tree.root());
  ASSERT_TRUE(pool && *pool);
  EXPECT_EQ((*pool)->size_bytes, 16u << 20);
  EXPECT_EQ((*pool)->available_bytes, 4096u);
  EXPECT_TRUE((*pool)->is_published);
  Tree::write(tree.root() / "p2pmem" / "size", "a lot\n");
  EXPECT_FALSE(read_p2pmem(tree.root()));
}

TEST(P2pmem, WhatCanNotBeUsedIsRefusedWithTheReason) {
  Tree tree;
  const Bdf function{.bus = 3};
  EXPECT_THAT(P2pmemExporter::open(tree.root(), function).error().message(), HasSubstr("no p2pmem folder"));
  Tree::write(tree.root() / "p2pmem" / "size", "16777216\n");
  Tree::write(tree.root() / "p2pmem" / "available", "16777216\n");
  Tree::write(tree.root() / "p2pmem" / "published", "0\n");
  EXPECT_THAT(P2pmemExporter::open(tree.root(), function).error().message(), HasSubstr("RDS or WDS"));
  Tree::write(tree.root() / "p2pmem" / "published", "1\n");
  const auto old = P2pmemExporter::open(tree.root(), function);
  ASSERT_FALSE(old);
  EXPECT_THAT(old.error().cure, HasSubstr("6.2"));
}

// A plain file in the place of `allocate`: the addresses, the chunks and the errors are the same.
TEST(P2pmem, EachRegionIsOneChunkInItsPlace) {
  Tree tree;
  Tree::write(tree.root() / "p2pmem" / "size", "65536\n");
  Tree::write(tree.root() / "p2pmem" / "available", "65536\n");
  Tree::write(tree.root() / "p2pmem" / "published", "1\n");
  Tree::write(tree.root() / "p2pmem" / "allocate", std::string(65536, 'x'));
  auto memory = P2pmemExporter::open(tree.root(), {.bus = 3});
  ASSERT_TRUE(memory) << memory.error().message();
  EXPECT_TRUE((*memory)->is_known_by_pointer());
  EXPECT_TRUE((*memory)->cpu_bytes({0, 65536}).empty()) << "nothing is taken before it is asked for";
  ASSERT_TRUE((*memory)->acquire({8192, 4096}));
  const auto chunk = (*memory)->cpu_bytes({8192, 4096});
  ASSERT_EQ(chunk.size(), 4096u);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(chunk.data()), (*memory)->bus_address().value + 8192);
  EXPECT_TRUE((*memory)->contains(chunk.data()));
  EXPECT_FALSE((*memory)->contains(&tree));
  chunk[0] = std::byte{1};
  EXPECT_TRUE((*memory)->cpu_bytes({8192, 4097}).empty());
  EXPECT_TRUE((*memory)->cpu_bytes({4096, 4096}).empty());
  (*memory)->release({8192, 4096});
  EXPECT_TRUE((*memory)->cpu_bytes({8192, 4096}).empty());
  ASSERT_TRUE((*memory)->acquire({8192, 8192}));
  EXPECT_EQ((*memory)->cpu_bytes({12288, 1}).size(), 1u);
}

TEST(PointerDomain, HandsAddressesThrough) {
  PointerDomain domain;
  EXPECT_TRUE(domain.takes_pointers());
  EXPECT_FALSE(domain.translates());
  EXPECT_EQ(domain.map({0x1234}, 10, Access::read)->value, 0x1234u);
  EXPECT_FALSE(domain.map({0x1234}, 0, Access::read));
  EXPECT_FALSE(domain.map({0}, 10, Access::read));
  EXPECT_FALSE(domain.map({0x1234}, ~std::uint64_t{0}, Access::read));
}

TEST(KernelImporter, IsolationWaitsForWhatWasStartedAndStartsNothingMore) {
  base::SystemClock clock;
  KernelImporter importer({.bus = 4}, clock);
  ASSERT_TRUE(importer.begin());
  int looks = 0;
  importer.on_progress([&] {
    if (++looks == 3) importer.end();
  });
  EXPECT_TRUE(importer.isolate());
  EXPECT_EQ(looks, 3);
  EXPECT_FALSE(importer.begin());
  EXPECT_TRUE(importer.isolate()) << "twice is no harm";
}

}  // namespace
}  // namespace barter::linux_os
