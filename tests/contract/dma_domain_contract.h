// What every peer::DmaDomain promises (src/peer/dma_domain.h). A suite for each implementation, as in
// function_contract.h.
#pragma once
#include <concepts>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "peer/dma_domain.h"

namespace barter::peer {

// A domain, memory on the bus that it may map, and the device whose requests go through it.
template <class T>
concept DomainUnderTest =
    std::default_initializable<T> && requires(T machine, DmaAddress address, std::span<std::byte> bytes) {
      { machine.domain() } -> std::same_as<DmaDomain&>;
      { machine.target() } -> std::same_as<BusAddress>;            // page-aligned; 64 KiB of memory lie there
      { machine.memory() } -> std::same_as<std::span<std::byte>>;  // the same, as the CPU sees it
      { machine.device_writes(address, bytes) } -> std::same_as<bool>;
      { machine.device_reads(address, bytes) } -> std::same_as<bool>;
      { machine.faults() } -> std::convertible_to<std::uint64_t>;  // requests that the IOMMU has refused so far
    };

template <DomainUnderTest Machine>
class DmaDomainContract : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPage = 4096;
  Machine machine_;
  DmaDomain& domain_ = machine_.domain();
  std::vector<std::byte> bytes_ = std::vector<std::byte>(64, std::byte{0x42});
};
TYPED_TEST_SUITE_P(DmaDomainContract);

TYPED_TEST_P(DmaDomainContract, WhatIsMappedIsReached) {
  const auto address = this->domain_.map(this->machine_.target() + 100, 64, Access::read_write);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->value % this->kPage, 100u);
  EXPECT_TRUE(this->machine_.device_writes(*address, this->bytes_));
  EXPECT_EQ(this->machine_.memory()[100], std::byte{0x42});
  EXPECT_EQ(this->machine_.memory()[163], std::byte{0x42});
  this->machine_.memory()[100] = std::byte{0x43};
  EXPECT_TRUE(this->machine_.device_reads(*address, this->bytes_));
  EXPECT_EQ(this->bytes_[0], std::byte{0x43});
  this->domain_.unmap(*address, 64);
}

TYPED_TEST_P(DmaDomainContract, WhatIsUnmappedFaultsIsCountedAndChangesNothing) {
  if (!this->domain_.translates()) GTEST_SKIP() << "skipped: nothing stands behind this domain";
  const auto address = this->domain_.map(this->machine_.target(), this->kPage, Access::read_write);
  ASSERT_TRUE(address);
  ASSERT_TRUE(this->machine_.device_writes(*address, this->bytes_));
  this->domain_.unmap(*address, this->kPage);
  this->machine_.memory()[0] = std::byte{1};
  const std::uint64_t before = this->machine_.faults();
  EXPECT_FALSE(this->machine_.device_writes(*address, this->bytes_));
  EXPECT_FALSE(this->machine_.device_reads(*address, this->bytes_));
  EXPECT_EQ(this->machine_.faults(), before + 2);
  EXPECT_EQ(this->machine_.memory()[0], std::byte{1});
}

TYPED_TEST_P(DmaDomainContract, AccessIsWhatWasAskedFor) {
  if (!this->domain_.translates()) GTEST_SKIP() << "skipped: nothing stands behind this domain";
  const auto readable = this->domain_.map(this->machine_.target(), this->kPage, Access::read);
  const auto writable = this->domain_.map(this->machine_.target(), this->kPage, Access::write);
  ASSERT_TRUE(readable && writable);
  EXPECT_TRUE(this->machine_.device_reads(*readable, this->bytes_));
  EXPECT_FALSE(this->machine_.device_writes(*readable, this->bytes_));
  EXPECT_TRUE(this->machine_.device_writes(*writable, this->bytes_));
  EXPECT_FALSE(this->machine_.device_reads(*writable, this->bytes_));
  this->domain_.unmap(*readable, this->kPage);
  EXPECT_TRUE(this->machine_.device_writes(*writable, this->bytes_));
  this->domain_.unmap(*writable, this->kPage);
}

TYPED_TEST_P(DmaDomainContract, WholePagesAreMappedAndNotOneMore) {
  if (!this->domain_.translates()) GTEST_SKIP() << "skipped: nothing stands behind this domain";
  // 4096 bytes across a boundary: two pages.
  const auto address = this->domain_.map(this->machine_.target() + 2048, this->kPage, Access::read_write);
  ASSERT_TRUE(address);
  const DmaAddress first{address->value - 2048};
  EXPECT_TRUE(this->machine_.device_writes(first + (2 * this->kPage - 64), this->bytes_));
  EXPECT_FALSE(this->machine_.device_writes(first + 2 * this->kPage, this->bytes_));
  EXPECT_FALSE(this->machine_.device_writes({first.value - 64}, this->bytes_));
  // Half in and half out fails as a whole, as far as the requester can tell.
  EXPECT_FALSE(this->machine_.device_writes(first + (2 * this->kPage - 32), this->bytes_));
  this->domain_.unmap(*address, this->kPage);
  EXPECT_FALSE(this->machine_.device_writes(first, this->bytes_));
}

TYPED_TEST_P(DmaDomainContract, MappingsComeAndGoByThemselves) {
  std::vector<std::pair<DmaAddress, std::uint64_t>> mapped;
  for (std::uint64_t page = 0; page < 16; ++page) {
    const auto address =
        this->domain_.map(this->machine_.target() + page * this->kPage, this->kPage, Access::read_write);
    ASSERT_TRUE(address);
    mapped.emplace_back(*address, page);
  }
  for (std::size_t gone = 0; gone < mapped.size(); gone += 2) this->domain_.unmap(mapped[gone].first, this->kPage);
  for (std::size_t left = 1; left < mapped.size(); left += 2) {
    EXPECT_TRUE(this->machine_.device_writes(mapped[left].first, this->bytes_));
    EXPECT_EQ(this->machine_.memory()[mapped[left].second * this->kPage], std::byte{0x42});
    this->domain_.unmap(mapped[left].first, this->kPage);
  }
}

TYPED_TEST_P(DmaDomainContract, NonsenseIsRefusedOrHarmless) {
  if (!this->domain_.translates()) GTEST_SKIP() << "skipped: nothing stands behind this domain";
  EXPECT_FALSE(this->domain_.map(this->machine_.target(), 0, Access::read));
  EXPECT_FALSE(this->domain_.map(this->machine_.target(), ~std::uint64_t{0}, Access::read));
  EXPECT_FALSE(this->domain_.map({~std::uint64_t{0} - 10}, this->kPage, Access::read));
  const auto address = this->domain_.map(this->machine_.target(), 2 * this->kPage, Access::read_write);
  ASSERT_TRUE(address);
  // Not what map() gave: nothing happens.
  this->domain_.unmap(*address, this->kPage);
  this->domain_.unmap(*address + this->kPage, this->kPage);
  this->domain_.unmap({0}, this->kPage);
  this->domain_.unmap({~std::uint64_t{0}}, this->kPage);
  EXPECT_TRUE(this->machine_.device_writes(*address, this->bytes_));
  this->domain_.unmap(*address, 2 * this->kPage);
  this->domain_.unmap(*address, 2 * this->kPage);
}

REGISTER_TYPED_TEST_SUITE_P(DmaDomainContract, WhatIsMappedIsReached, WhatIsUnmappedFaultsIsCountedAndChangesNothing,
                            AccessIsWhatWasAskedFor, WholePagesAreMappedAndNotOneMore, MappingsComeAndGoByThemselves,
                            NonsenseIsRefusedOrHarmless);

}  // namespace barter::peer
