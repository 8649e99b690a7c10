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
// A field that both sides know.
template <class M, class D, class MF, class DF>
void expect_field(MF of_model, DF of_driver, std::uint64_t bits) {
  EXPECT_EQ(mask<M>(of_model), bits);
  EXPECT_EQ(mask<D>(of_driver), bits);
}

TEST(DmaEngineRegisters, Sections1And2) {
  EXPECT_EQ(model::kOtherSystemPeripheral, 0x088000u);
  EXPECT_EQ(driver::kClassCode, 0x088000u);
  EXPECT_EQ(model::kRegisterBarBytes, 16384u);
  EXPECT_EQ(driver::kRegisterBytes, 16384u);
  EXPECT_EQ(model::kMsixTable, 0x2000u);
  EXPECT_EQ(model::kMsixPending, 0x3000u);
  EXPECT_EQ(model::Identity::kBxdm, 0x4d445842u);
  EXPECT_EQ(driver::kIdentity, 0x4d445842u);
  EXPECT_EQ(model::kMaxChannels, 16u);
  EXPECT_EQ(driver::kMostChannels, 16u);
  expect_register<model::Identity, driver::IdentityRegister>(0x000, 32);
  expect_register<model::Version, driver::VersionRegister>(0x004, 32);
  expect_register<model::Channels, driver::ChannelCounts>(0x008, 32);
  expect_register<model::Segments, driver::LongestList>(0x00c, 32);
  expect_register<model::Transfer, driver::LargestTransfer>(0x010, 64);
  expect_register<model::Control, driver::ControlRegister>(0x018, 32);
  expect_register<model::Status, driver::StatusRegister>(0x01c, 32);
  EXPECT_EQ(model::Scratch::kOffset, 0x020u);
  expect_field<model::Channels, driver::ChannelCounts>(model::Channels::count, driver::ChannelCounts::channels, 0x00ff);
  expect_field<model::Channels, driver::ChannelCounts>(model::Channels::ring_log2,
                                                       driver::ChannelCounts::longest_ring_log2, 0xff00);
  expect_field<model::Segments, driver::LongestList>(model::Segments::most, driver::LongestList::segments, 0xffff);
  expect_field<model::Control, driver::ControlRegister>(model::Control::enable, driver::ControlRegister::enable, 1);
  expect_field<model::Control, driver::ControlRegister>(model::Control::reset, driver::ControlRegister::reset, 2);
  expect_field<model::Status, driver::StatusRegister>(model::Status::ready, driver::StatusRegister::ready, 1);
  expect_field<model::Status, driver::StatusRegister>(model::Status::fatal, driver::StatusRegister::fatal, 2);
}

TEST(DmaEngineRegisters, ChannelsOfSection2) {
  EXPECT_EQ(model::kChannels + 3 * model::kChannelStride, 0x10c0u);
  EXPECT_EQ(driver::channel_place(3).value, 0x10c0u);
  expect_register<model::RingBase, driver::RingBaseRegister>(0x00, 64);
  expect_register<model::CompletionBase, driver::CompletionBaseRegister>(0x08, 64);
  expect_register<model::RingLog2, driver::RingSizeRegister>(0x10, 32);
  expect_register<model::ChannelControl, driver::RunRegister>(0x14, 32);
  expect_register<model::ChannelStatus, driver::ChannelStatusRegister>(0x18, 32);
  expect_register<model::Tail, driver::TailDoorbell>(0x1c, 32);
  expect_register<model::Taken, driver::TakenDoorbell>(0x20, 32);
  expect_register<model::Moved, driver::MovedRegister>(0x28, 64);
  using Status = model::ChannelStatus;
  using Known = driver::ChannelStatusRegister;
  expect_field<Status, Known>(Status::running, Known::running, 0x0001);
  expect_field<Status, Known>(Status::error, Known::error, 0x0002);
  expect_field<Status, Known>(Status::cause, Known::cause, 0xff00);
  EXPECT_EQ(static_cast<int>(model::Cause::setting), 1);
  EXPECT_EQ(static_cast<int>(model::Cause::ring_unreadable), 2);
  EXPECT_EQ(static_cast<int>(model::Cause::completion_unwritable), 3);
  EXPECT_EQ(static_cast<int>(model::Cause::index_past_ring), 4);
  EXPECT_EQ(static_cast<int>(model::Cause::run_before_ready), 5);
}

TEST(DmaEngineRegisters, Section3) {
  using Word = model::DescriptorDword0;
  expect_field<Word, driver::CommandWord>(Word::opcode, driver::CommandWord::opcode, 0x000000ff);
  expect_field<Word, driver::CommandWord>(Word::interrupt, driver::CommandWord::interrupt, 0x00000100);
  expect_field<Word, driver::CommandWord>(Word::id, driver::CommandWord::id, 0xffff0000);
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
  EXPECT_EQ(driver::kDescriptorBytes, 64u);
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
  EXPECT_EQ(driver::kLastStatus, 6u);
  using Place = model::CompletionDword2;
  expect_field<Place, driver::CompletionPlace>(Place::head, driver::CompletionPlace::head, 0x0000ffff);
  expect_field<Place, driver::CompletionPlace>(Place::channel, driver::CompletionPlace::channel, 0xffff0000);
  using End = model::CompletionDword3;
  expect_field<End, driver::CompletionWord>(End::id, driver::CompletionWord::id, 0x0000ffff);
  expect_field<End, driver::CompletionWord>(End::status, driver::CompletionWord::status, 0x00ff0000);
  expect_field<End, driver::CompletionWord>(End::phase, driver::CompletionWord::phase, 0x80000000);
}

}  // namespace
