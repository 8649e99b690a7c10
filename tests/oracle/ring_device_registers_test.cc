// docs/devices/rings.md, a third time: its numbers against the models' transcription and the drivers'. Where a register lies is in the
// tests of the two devices.
#include <cstddef>

#include <gtest/gtest.h>

#include "devices/ring_device/registers.h"
#include "drivers/ring_device/registers.h"

namespace {

namespace model = barter::devices::ring_device;
namespace driver = barter::drivers::ring_device;

// A field that both sides know.
template <class M, class D, class MF, class DF>
void expect_field(MF, DF, std::uint64_t bits) {
  EXPECT_EQ(MF::template mask<typename M::Word>(), bits);
  EXPECT_EQ(DF::template mask<typename D::Word>(), bits);
}

TEST(RingDeviceRegisters, RegistersOfSections1And2) {
  EXPECT_EQ(model::kRegisterBar, 0);
  EXPECT_EQ(driver::kRegisterBar, 0u);
  EXPECT_EQ(driver::IdentityRegister::kOffset, 0x000u);
  EXPECT_EQ(driver::VersionRegister::kOffset, 0x004u);
  EXPECT_EQ(driver::kMostChannels, 32u);
  expect_field<model::Control, driver::ControlBits>(model::Control::enable, driver::ControlBits::enable, 1);
  expect_field<model::Control, driver::ControlBits>(model::Control::reset, driver::ControlBits::reset, 2);
  expect_field<model::Status, driver::StatusBits>(model::Status::ready, driver::StatusBits::ready, 1);
  expect_field<model::Status, driver::StatusBits>(model::Status::fatal, driver::StatusBits::fatal, 2);
  expect_field<model::ChannelControl, driver::RunBits>(model::ChannelControl::run, driver::RunBits::run, 1);
  using Status = model::ChannelStatus;
  using Known = driver::ChannelStatusBits;
  expect_field<Status, Known>(Status::running, Known::running, 0x0001);
  expect_field<Status, Known>(Status::error, Known::error, 0x0002);
  expect_field<Status, Known>(Status::cause, Known::cause, 0xff00);
  EXPECT_EQ(static_cast<int>(model::Cause::setting), 1);
  EXPECT_EQ(static_cast<int>(model::Cause::ring_unreadable), 2);
  EXPECT_EQ(static_cast<int>(model::Cause::completion_unwritable), 3);
  EXPECT_EQ(static_cast<int>(model::Cause::index_past_ring), 4);
  EXPECT_EQ(static_cast<int>(model::Cause::run_before_ready), 5);
}

TEST(RingDeviceRegisters, RingsOfSection3) {
  EXPECT_EQ(model::kDescriptorBytes, 64u);
  EXPECT_EQ(driver::kDescriptorBytes, 64u);
  EXPECT_EQ(sizeof(model::CompletionEntry), 16u);
  EXPECT_EQ(driver::kCompletionBytes, 16u);
  using Word = model::DescriptorDword0;
  expect_field<Word, driver::CommandWord>(Word::opcode, driver::CommandWord::opcode, 0x000000ff);
  expect_field<Word, driver::CommandWord>(Word::interrupt, driver::CommandWord::interrupt, 0x00000100);
  expect_field<Word, driver::CommandWord>(Word::id, driver::CommandWord::id, 0xffff0000);
  using Place = model::CompletionDword2;
  EXPECT_EQ(offsetof(model::CompletionEntry, dword2), 8u);
  EXPECT_EQ(driver::CompletionPlace::kOffset, 8u);
  expect_field<Place, driver::CompletionPlace>(Place::head, driver::CompletionPlace::head, 0x0000ffff);
  expect_field<Place, driver::CompletionPlace>(Place::channel, driver::CompletionPlace::channel, 0xffff0000);
  using End = model::CompletionDword3;
  EXPECT_EQ(offsetof(model::CompletionEntry, dword3), 12u);
  EXPECT_EQ(driver::CompletionWord::kOffset, 12u);
  expect_field<End, driver::CompletionWord>(End::id, driver::CompletionWord::id, 0x0000ffff);
  expect_field<End, driver::CompletionWord>(End::status, driver::CompletionWord::status, 0x00ff0000);
  expect_field<End, driver::CompletionWord>(End::phase, driver::CompletionWord::phase, 0x80000000);
}

}  // namespace
