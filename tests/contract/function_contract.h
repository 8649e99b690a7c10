// What every pci::Function promises (src/pci/function.h), whatever machine it is on. A suite for each implementation:
//
//   struct OnFabric { ... };  // see FunctionUnderTest below for what it must have
//   INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, FunctionContract, OnFabric);
#pragma once
#include <concepts>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "pci/function.h"

namespace barter::pci {

// Of a device that has no memory of its own.
inline constexpr unsigned kNoMemoryBar = 6;

// Two functions of one machine, and what the suite must be able to make the first one's device do.
template <class T>
concept FunctionUnderTest =
    std::default_initializable<T> && requires(T machine, DmaAddress address, std::span<std::byte> bytes) {
      { machine.function() } -> std::same_as<Function&>;
      { machine.other() } -> std::same_as<Function&>;
      { T::kScratchBar } -> std::convertible_to<unsigned>;  // a BAR with a register that keeps what is written to it
      { T::kScratchRegister } -> std::convertible_to<std::uint64_t>;
      { T::kMemoryBar } -> std::convertible_to<unsigned>;  // a BAR of plain memory, or kNoMemoryBar
      { T::kMissingBar } -> std::convertible_to<unsigned>;
      { T::kVectors } -> std::convertible_to<unsigned>;  // how many MSI-X vectors it has
      // What the device does by itself. The DMA says whether it arrived.
      { machine.device_writes(address, bytes) } -> std::same_as<bool>;
      { machine.other_device_writes(address, bytes) } -> std::same_as<bool>;
      { machine.device_reads(address, bytes) } -> std::same_as<bool>;
      machine.device_interrupts(0u);
    };

template <FunctionUnderTest Machine>
class FunctionContract : public ::testing::Test {
 protected:
  Machine machine_;
  Function& function_ = machine_.function();
};
TYPED_TEST_SUITE_P(FunctionContract);

TYPED_TEST_P(FunctionContract, ConfigSpaceIsLittleEndianInEveryWidth) {
  const auto whole = this->function_.read_config(0, 4);
  ASSERT_TRUE(whole);
  EXPECT_EQ(this->function_.read_config(0, 2).value(), *whole & 0xffff);
  EXPECT_EQ(this->function_.read_config(2, 2).value(), *whole >> 16);
  for (std::uint16_t byte = 0; byte < 4; ++byte)
    EXPECT_EQ(this->function_.read_config(byte, 1).value(), *whole >> (8 * byte) & 0xff);
  EXPECT_NE(*whole, 0xffffffffu);
}

TYPED_TEST_P(FunctionContract, BadConfigAccessesAreErrors) {
  EXPECT_FALSE(this->function_.read_config(1, 2));
  EXPECT_FALSE(this->function_.read_config(2, 4));
  EXPECT_FALSE(this->function_.read_config(0, 3));
  EXPECT_FALSE(this->function_.read_config(4096, 1));
  EXPECT_FALSE(this->function_.write_config(4096, 4, 0));
  EXPECT_FALSE(this->function_.write_config(0, 0, 0));
}

TYPED_TEST_P(FunctionContract, ReadOnlyRegistersStayWhatTheyAre) {
  const std::uint32_t identity = this->function_.read_config(0, 4).value();
  const std::uint32_t class_code = this->function_.read_config(8, 4).value();
  ASSERT_TRUE(this->function_.write_config(0, 4, ~identity));
  ASSERT_TRUE(this->function_.write_config(8, 4, ~class_code));
  EXPECT_EQ(this->function_.read_config(0, 4).value(), identity);
  EXPECT_EQ(this->function_.read_config(8, 4).value(), class_code);
}

TYPED_TEST_P(FunctionContract, RegistersKeepWhatIsWrittenThroughAnyMapping) {
  auto one = this->function_.map_bar(TypeParam::kScratchBar);
  auto two = this->function_.map_bar(TypeParam::kScratchBar);
  ASSERT_TRUE(one && two);
  EXPECT_EQ((*one)->bus_address(), (*two)->bus_address());
  EXPECT_GT((*one)->size_bytes(), std::uint64_t{TypeParam::kScratchRegister});
  const BarOffset at{TypeParam::kScratchRegister};
  (*one)->store32(at, 0x12345678);
  EXPECT_EQ((*two)->load32(at), 0x12345678u);
  one->reset();
  EXPECT_EQ((*two)->load32(at), 0x12345678u);
}

TYPED_TEST_P(FunctionContract, MemoryIsTheSameThroughLoadsAndPointers) {
  if (TypeParam::kMemoryBar == kNoMemoryBar) GTEST_SKIP() << "skipped: the device has no memory of its own";
  auto bar = this->function_.map_bar(TypeParam::kMemoryBar);
  ASSERT_TRUE(bar);
  const auto memory = (*bar)->memory({64}, 4096);
  ASSERT_EQ(memory.size(), 4096u);
  (*bar)->store64({72}, 0x1122334455667788);
  EXPECT_EQ(memory[8], std::byte{0x88});
  EXPECT_EQ(memory[15], std::byte{0x11});
  memory[12] = std::byte{0xaa};
  EXPECT_EQ((*bar)->load32({76}), 0x112233aau);
  EXPECT_TRUE((*bar)->memory({(*bar)->size_bytes() - 16}, 17).empty());
  EXPECT_TRUE((*bar)->memory({(*bar)->size_bytes() + 4096}, 1).empty());
}

TYPED_TEST_P(FunctionContract, ABarThatIsNotThereIsAnError) {
  EXPECT_FALSE(this->function_.map_bar(TypeParam::kMissingBar));
  EXPECT_FALSE(this->function_.map_bar(6));
}

TYPED_TEST_P(FunctionContract, ADisabledBarReadsAsAllOnes) {
  auto bar = this->function_.map_bar(TypeParam::kScratchBar);
  ASSERT_TRUE(bar);
  const BarOffset at{TypeParam::kScratchRegister};
  (*bar)->store32(at, 1);
  const std::uint32_t command = this->function_.read_config(4, 2).value();
  ASSERT_TRUE(this->function_.write_config(4, 2, command & ~2u));  // Memory Space Enable
  EXPECT_EQ((*bar)->load32(at), 0xffffffffu);
  (*bar)->store32(at, 2);
  ASSERT_TRUE(this->function_.write_config(4, 2, command));
  EXPECT_EQ((*bar)->load32(at), 1u);
}

TYPED_TEST_P(FunctionContract, DmaMemoryIsZeroedPageAlignedAndReached) {
  for (const DmaUse use : {DmaUse::control, DmaUse::data}) {
    auto buffer = this->function_.allocate_dma(10000, use);
    ASSERT_TRUE(buffer);
    ASSERT_EQ(buffer->bytes().size(), 10000u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->bytes().data()) % 4096, 0u);
    EXPECT_EQ(buffer->address().value % 4096, 0u);
    for (const std::byte byte : buffer->bytes()) ASSERT_EQ(byte, std::byte{0});
    std::vector<std::byte> sent(10000, std::byte{0x5a});
    ASSERT_TRUE(this->machine_.device_writes(buffer->address(), sent));
    EXPECT_EQ(std::memcmp(buffer->bytes().data(), sent.data(), sent.size()), 0);
    std::memset(buffer->bytes().data(), 0x33, 10000);
    ASSERT_TRUE(this->machine_.device_reads(buffer->address(), sent));
    EXPECT_EQ(std::memcmp(buffer->bytes().data(), sent.data(), sent.size()), 0);
  }
  EXPECT_FALSE(this->function_.allocate_dma(0, DmaUse::data));
}

TYPED_TEST_P(FunctionContract, DmaMemoryThatWasUsedComesBackZeroed) {
  for (int round = 0; round < 3; ++round) {
    auto buffer = this->function_.allocate_dma(65536, DmaUse::data);
    ASSERT_TRUE(buffer);
    for (const std::byte byte : buffer->bytes()) ASSERT_EQ(byte, std::byte{0});
    std::memset(buffer->bytes().data(), 0xff, buffer->bytes().size());
  }
}

TYPED_TEST_P(FunctionContract, ASharedBufferIsTheSameMemoryForBoth) {
  auto buffer = this->function_.allocate_dma(4096, DmaUse::data);
  ASSERT_TRUE(buffer);
  std::optional<DmaAddress> address;
  {
    auto shared = this->machine_.other().share_dma(*buffer);
    ASSERT_TRUE(shared);
    address = shared->address();
    EXPECT_EQ(shared->bytes().data(), buffer->bytes().data());
    std::vector<std::byte> sent(4096, std::byte{0x77});
    ASSERT_TRUE(this->machine_.other_device_writes(*address, sent));
    EXPECT_EQ(buffer->bytes()[4095], std::byte{0x77});
  }
  // The original outlives what was shared of it.
  std::vector<std::byte> sent(4096, std::byte{0x78});
  ASSERT_TRUE(this->machine_.device_writes(buffer->address(), sent));
  EXPECT_EQ(buffer->bytes()[0], std::byte{0x78});
  std::vector<std::byte> foreign(4096);
  EXPECT_FALSE(this->function_.share_dma(DmaBuffer(foreign, {0}, {})));
}

TYPED_TEST_P(FunctionContract, InterruptsAreTakenOnceEach) {
  ASSERT_TRUE(this->function_.enable_interrupts(TypeParam::kVectors));
  for (unsigned vector = 0; vector < TypeParam::kVectors; ++vector) {
    EXPECT_FALSE(this->function_.take_interrupt(vector));
    this->machine_.device_interrupts(vector);
    for (unsigned other = 0; other < TypeParam::kVectors; ++other) {
      if (other != vector) {
        EXPECT_FALSE(this->function_.take_interrupt(other));
      }
    }
    EXPECT_TRUE(this->function_.take_interrupt(vector));
    EXPECT_FALSE(this->function_.take_interrupt(vector));
  }
  EXPECT_FALSE(this->function_.take_interrupt(TypeParam::kVectors));
  EXPECT_FALSE(this->function_.enable_interrupts(0));
  EXPECT_FALSE(this->function_.enable_interrupts(2049));
}

TYPED_TEST_P(FunctionContract, ResetKeepsAddressesAndForgetsTheRest) {
  auto bar = this->function_.map_bar(TypeParam::kScratchBar);
  ASSERT_TRUE(bar);
  const BarOffset at{TypeParam::kScratchRegister};
  (*bar)->store32(at, 99);
  const std::uint32_t command = this->function_.read_config(4, 2).value();
  const std::uint32_t address = this->function_.read_config(0x10, 4).value();
  ASSERT_TRUE(this->function_.enable_interrupts(1));
  ASSERT_TRUE(this->function_.reset());
  EXPECT_EQ(this->function_.read_config(4, 2).value(), command);
  EXPECT_EQ(this->function_.read_config(0x10, 4).value(), address);
  EXPECT_EQ((*bar)->load32(at), 0u);
  this->machine_.device_interrupts(0);
  EXPECT_FALSE(this->function_.take_interrupt(0));
}

TYPED_TEST_P(FunctionContract, WithoutBusMasteringNoDmaArrives) {
  auto buffer = this->function_.allocate_dma(4096, DmaUse::data);
  ASSERT_TRUE(buffer);
  const std::uint32_t command = this->function_.read_config(4, 2).value();
  ASSERT_TRUE(this->function_.write_config(4, 2, command & ~4u));  // Bus Master Enable
  std::vector<std::byte> sent(16, std::byte{1});
  EXPECT_FALSE(this->machine_.device_writes(buffer->address(), sent));
  EXPECT_EQ(buffer->bytes()[0], std::byte{0});
  ASSERT_TRUE(this->function_.write_config(4, 2, command));
  EXPECT_TRUE(this->machine_.device_writes(buffer->address(), sent));
}

REGISTER_TYPED_TEST_SUITE_P(FunctionContract, ConfigSpaceIsLittleEndianInEveryWidth, BadConfigAccessesAreErrors,
                            ReadOnlyRegistersStayWhatTheyAre, RegistersKeepWhatIsWrittenThroughAnyMapping,
                            MemoryIsTheSameThroughLoadsAndPointers, ABarThatIsNotThereIsAnError,
                            ADisabledBarReadsAsAllOnes, DmaMemoryIsZeroedPageAlignedAndReached,
                            DmaMemoryThatWasUsedComesBackZeroed, ASharedBufferIsTheSameMemoryForBoth,
                            InterruptsAreTakenOnceEach, ResetKeepsAddressesAndForgetsTheRest,
                            WithoutBusMasteringNoDmaArrives);

}  // namespace barter::pci
