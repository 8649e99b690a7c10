// docs/devices/dma_engine.md, a third time: the numbers of its tables against the model's transcription and the driver's.
#include <cstddef>

#include <gtest/gtest.h>

#include "devices/dma_engine/descriptors.h"
#include "devices/dma_engine/registers.h"
#include "drivers/dma_engine/engine.h"
#include "drivers/dma_engine/registers.h"

namespace {

namespace model = barter::devices::dma_engine;
namespace driver = barter::drivers::dma_engine;

template <class Model, class Driver>
void expect_register(std::uint32_t at, std::size_t bits) {
  EXPECT_EQ(Model::kOffset, at);
  EXPECT_EQ(Driver::kOffset, at);
  EXPECT_EQ(sizeof(typename Model::Word) * 8, bits);
  EXPECT_EQ(sizeof(typename Driver::Word) * 8, bits);
}

// All bits of a field, in its register.
template <class R, class F>
constexpr std::uint64_t mask(F) {
  return F::template mask<typename R::Word>();
}
void expect_at(std::uint32_t model, std::uint32_t driver, std::uint32_t at) {
  EXPECT_EQ(model, at);
  EXPECT_EQ(driver, at);
}
// A field that both sides know.
template <class M, class D, class MF, class DF>
void expect_field(MF of_model, DF of_driver, std::uint64_t bits) {
  EXPECT_EQ(mask<M>(of_model), bits);
  EXPECT_EQ(mask<D>(of_driver), bits);
}

TEST(DmaEngineRegisters, Sections1And2) {
  EXPECT_EQ(model::kOtherSystemPeripheral, 0x088000u);
  EXPECT_EQ(driver::kDeviceKind.class_code, 0x088000u);
  EXPECT_EQ(model::kRegisterBarBytes, 16384u);
  EXPECT_EQ(driver::kDeviceKind.register_bytes, 16384u);
  EXPECT_EQ(model::kMsixTable, 0x2000u);
  EXPECT_EQ(model::kMsixPending, 0x3000u);
  EXPECT_EQ(model::kLayout.identity, 0x4d445842u);
  EXPECT_EQ(driver::kDeviceKind.identity, 0x4d445842u);
  EXPECT_EQ(model::kLayout.version, 0x00010000u);
  EXPECT_EQ(model::kMaxChannels, 16u);
  EXPECT_EQ(driver::kMostChannels, 16u);
  expect_register<model::Channels, driver::ChannelCounts>(0x008, 32);
  expect_register<model::Segments, driver::LongestList>(0x00c, 32);
  expect_register<model::Transfer, driver::LargestTransfer>(0x010, 64);
  expect_at(model::kLayout.control, driver::kDeviceKind.control, 0x018);
  expect_at(model::kLayout.status, driver::kDeviceKind.status, 0x01c);
  EXPECT_EQ(model::kLayout.scratch, 0x020u);
  expect_field<model::Channels, driver::ChannelCounts>(model::Channels::count, driver::ChannelCounts::channels, 0x00ff);
  expect_field<model::Channels, driver::ChannelCounts>(model::Channels::ring_log2,
                                                       driver::ChannelCounts::longest_ring_log2, 0xff00);
  expect_field<model::Segments, driver::LongestList>(model::Segments::most, driver::LongestList::segments, 0xffff);
  EXPECT_TRUE(model::kLayout.has_reset);
}

TEST(DmaEngineRegisters, ChannelsOfSection2) {
  constexpr const auto& kModel = model::kLayout;
  constexpr const auto& kDriver = driver::kDeviceKind;
  EXPECT_EQ(kModel.channels + 3 * kModel.channel_stride, 0x10c0u);
  EXPECT_EQ(kDriver.place(3).value, 0x10c0u);
  expect_at(kModel.ring_base, kDriver.channel.ring_base, 0x00);
  expect_at(kModel.completion_base, kDriver.channel.completion_base, 0x08);
  expect_at(kModel.ring_log2, kDriver.channel.ring_log2, 0x10);
  expect_at(kModel.channel_control, kDriver.channel.run, 0x14);
  expect_at(kModel.channel_status, kDriver.channel.status, 0x18);
  expect_at(kModel.tail, kDriver.channel.tail, 0x1c);
  expect_at(kModel.taken, kDriver.channel.taken, 0x20);
  expect_at(kModel.counter, driver::MovedRegister::kOffset, 0x28);
  EXPECT_EQ(sizeof(driver::MovedRegister::Word), 8u);
  EXPECT_FALSE(kModel.counter_is_setting);
  EXPECT_EQ(kModel.ring_alignment, 64u);
  EXPECT_TRUE(kModel.tells_cause);
  EXPECT_TRUE(kDriver.tells_cause);
}

TEST(DmaEngineRegisters, Section3) {
  using Lists = model::DescriptorDword1;
  expect_field<Lists, driver::ListsWord>(Lists::source_segments, driver::ListsWord::source_segments, 0x0000ffff);
  expect_field<Lists, driver::ListsWord>(Lists::destination_segments, driver::ListsWord::destination_segments,
                                         0xffff0000);
  EXPECT_EQ(offsetof(model::Descriptor, source), 8u);
  EXPECT_EQ(offsetof(driver::CommandFields, source), 8u);
  EXPECT_EQ(offsetof(model::Descriptor, destination), 16u);
  EXPECT_EQ(offsetof(driver::CommandFields, destination), 16u);
  EXPECT_EQ(offsetof(model::Descriptor, bytes), 24u);
  EXPECT_EQ(offsetof(driver::CommandFields, bytes), 24u);
  EXPECT_EQ(sizeof(model::Descriptor), 64u);
  EXPECT_EQ(offsetof(model::Segment, bytes), 8u);
  EXPECT_EQ(offsetof(driver::SegmentFields, bytes), 8u);
  EXPECT_EQ(sizeof(model::Segment), 16u);
  constexpr model::Opcode kModel[] = {model::Opcode::nop, model::Opcode::move, model::Opcode::fill};
  constexpr driver::Opcode kDriver[] = {driver::Opcode::nop, driver::Opcode::move, driver::Opcode::fill};
  for (int opcode = 0; opcode < 3; ++opcode) {
    EXPECT_EQ(static_cast<int>(kModel[opcode]), opcode);
    EXPECT_EQ(static_cast<int>(kDriver[opcode]), opcode);
  }
  EXPECT_EQ(static_cast<int>(model::MoveStatus::destination_error), 6);
  EXPECT_EQ(driver::kDeviceKind.last_status, 6u);
  EXPECT_TRUE(driver::kDeviceKind.counts_bytes);
}

}  // namespace
