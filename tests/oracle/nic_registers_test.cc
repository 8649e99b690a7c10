// docs/devices/nic.md, a third time: the numbers of its tables against the model's transcription and the driver's.
#include <cstddef>

#include <gtest/gtest.h>

#include "devices/nic/descriptors.h"
#include "devices/nic/registers.h"
#include "devices/nic/wire.h"
#include "drivers/nic/nic.h"
#include "drivers/nic/registers.h"

namespace {

namespace model = barter::devices::nic;
namespace driver = barter::drivers::nic;

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
void expect_at(std::uint64_t model, std::uint64_t driver, std::uint64_t at) {
  EXPECT_EQ(model, at);
  EXPECT_EQ(driver, at);
}
// A field that both sides know.
template <class M, class D, class MF, class DF>
void expect_field(MF of_model, DF of_driver, std::uint64_t bits) {
  EXPECT_EQ(mask<M>(of_model), bits);
  EXPECT_EQ(mask<D>(of_driver), bits);
}

TEST(NicRegisters, Section1) {
  expect_at(model::kOtherNetworkController, driver::kDeviceKind.class_code, 0x028000);
  expect_at(model::kRegisterBarBytes, driver::kDeviceKind.register_bytes, 16384);
  EXPECT_EQ(model::kMsixTable, 0x2000u);
  EXPECT_EQ(model::kMsixPending, 0x3000u);
}

TEST(NicRegisters, Section2) {
  expect_at(model::kLayout.identity, driver::kDeviceKind.identity, 0x434e5842);
  EXPECT_EQ(model::kLayout.version, 0x00010000u);
  expect_at(model::kMaxPairs, driver::kMostPairs, 16);
  expect_at(model::kMaxMessageBytes, driver::kMostBytes, 0x4000'0000'0000'0000);
  EXPECT_EQ(model::kMaxRegionBytes, 0x4000'0000'0000'0000u);
  expect_at(model::kLayout.control, driver::kDeviceKind.control, 0x018);
  expect_at(model::kLayout.status, driver::kDeviceKind.status, 0x01c);
  EXPECT_EQ(model::kLayout.scratch, 0x020u);
  EXPECT_TRUE(model::kLayout.has_reset);

  expect_register<model::Pairs, driver::PairCounts>(0x008, 32);
  expect_field<model::Pairs, driver::PairCounts>(model::Pairs::count, driver::PairCounts::pairs, 0x00ff);
  expect_field<model::Pairs, driver::PairCounts>(model::Pairs::ring_log2, driver::PairCounts::longest_ring_log2,
                                                 0xff00);
  expect_register<model::Lists, driver::ListLimits>(0x00c, 32);
  expect_field<model::Lists, driver::ListLimits>(model::Lists::segments, driver::ListLimits::segments, 0x0000ffff);
  expect_field<model::Lists, driver::ListLimits>(model::Lists::address_bits, driver::ListLimits::address_bits,
                                                 0x00ff0000);
  expect_field<model::Lists, driver::ListLimits>(model::Lists::boundary_log2, driver::ListLimits::boundary_log2,
                                                 0xff000000);
  expect_register<model::Message, driver::LargestMessage>(0x010, 64);
  expect_register<model::WireStatus, driver::WireRegister>(0x024, 32);
  expect_field<model::WireStatus, driver::WireRegister>(model::WireStatus::up, driver::WireRegister::up, 1);
  expect_register<model::KeyCount, driver::KeyCount>(0x028, 32);
  expect_field<model::KeyCount, driver::KeyCount>(model::KeyCount::count, driver::KeyCount::keys, 0xffff);
  expect_register<model::Withdraw, driver::WithdrawRegister>(0x02c, 32);
  expect_register<model::Remote, driver::RemoteRegister>(0x030, 32);
  expect_field<model::Remote, driver::RemoteRegister>(model::Remote::busy, driver::RemoteRegister::busy, 0x00000001);
  expect_field<model::Remote, driver::RemoteRegister>(model::Remote::times, driver::RemoteRegister::times, 0xfffffffe);
}

TEST(NicRegisters, ChannelsOfSection2) {
  constexpr const auto& kModel = model::kLayout;
  constexpr const auto& kDriver = driver::kDeviceKind;
  expect_at(kModel.channels + 3 * kModel.channel_stride, kDriver.place(3).value, 0x10c0);
  EXPECT_EQ(driver::send_channel(5), 10u);
  EXPECT_EQ(driver::receive_channel(5), 11u);
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

TEST(NicRegisters, DescriptorsOfSection3) {
  using Dword1 = model::DescriptorDword1;
  expect_at(Dword1::kOffset, driver::ListWord::kOffset, 4);
  expect_field<Dword1, driver::ListWord>(Dword1::segments, driver::ListWord::segments, 0x0000ffff);
  expect_field<Dword1, driver::ListWord>(Dword1::may_read, driver::ListWord::remote_reads, 0x00010000);
  expect_field<Dword1, driver::ListWord>(Dword1::may_write, driver::ListWord::remote_writes, 0x00020000);
  EXPECT_EQ(mask<Dword1>(Dword1::reserved), 0xfffc0000u);
  expect_at(offsetof(model::Descriptor, dword1), offsetof(driver::CommandFields, list), 4);
  expect_at(offsetof(model::Descriptor, address), offsetof(driver::CommandFields, address), 8);
  expect_at(offsetof(model::Descriptor, bytes), offsetof(driver::CommandFields, bytes), 16);
  expect_at(offsetof(model::Descriptor, key), offsetof(driver::CommandFields, key), 24);
  expect_at(offsetof(model::Descriptor, offset), offsetof(driver::CommandFields, remote_offset), 32);
  expect_at(offsetof(model::Descriptor, reserved), offsetof(driver::CommandFields, more_zeros), 40);
  expect_at(sizeof(model::Descriptor), sizeof(driver::CommandFields), 64);

  expect_at(offsetof(model::Segment, address), offsetof(driver::SegmentFields, address), 0);
  expect_at(offsetof(model::Segment, bytes), offsetof(driver::SegmentFields, bytes), 8);
  EXPECT_EQ(sizeof(driver::SegmentFields::bytes), 4u);
  expect_at(sizeof(model::Segment), sizeof(driver::SegmentFields), 16);
  EXPECT_EQ(model::kSegmentBits, 32u);
  EXPECT_EQ(driver::kMostSegmentBytes, 0xffffffffu);
  EXPECT_EQ(model::kListAlignment, 16u);
  expect_field<model::Key, driver::KeyBits>(model::Key::index, driver::KeyBits::index, 0x0000ffff);
  expect_field<model::Key, driver::KeyBits>(model::Key::number, driver::KeyBits::use, 0xffff0000);
  EXPECT_LE(model::kPieceBytes, 65536u);
}

TEST(NicRegisters, OpcodesAndStatusesOfSection3) {
  const auto expect_opcode = [](model::Opcode of_model, driver::Opcode of_driver, unsigned opcode) {
    expect_at(static_cast<unsigned>(of_model), static_cast<unsigned>(of_driver), opcode);
  };
  expect_opcode(model::Opcode::nop, driver::Opcode::nop, 0x00);
  expect_opcode(model::Opcode::send, driver::Opcode::send, 0x01);
  expect_opcode(model::Opcode::write, driver::Opcode::write, 0x02);
  expect_opcode(model::Opcode::read, driver::Opcode::read, 0x03);
  expect_opcode(model::Opcode::register_, driver::Opcode::expose, 0x04);
  expect_opcode(model::Opcode::receive, driver::Opcode::receive, 0x10);

  using Status = model::CommandStatus;
  constexpr Status kInOrder[] = {
      Status::done,         Status::invalid_opcode, Status::invalid_field,   Status::list_unreadable,
      Status::invalid_list, Status::read_error,     Status::write_error,     Status::wire_down,
      Status::no_receive,   Status::too_long,       Status::other_end_error, Status::not_permitted,
      Status::keys_in_use};
  unsigned number = 0;
  for (const Status status : kInOrder) EXPECT_EQ(static_cast<unsigned>(status), number++);
  EXPECT_EQ(driver::kDeviceKind.last_status, 12u);
  EXPECT_EQ(driver::kWireDown, 7);
  EXPECT_EQ(driver::kNoReceive, 8);
  EXPECT_EQ(driver::kMessageTooLong, 9);
  EXPECT_EQ(driver::kRemoteRefused, 11);
  EXPECT_FALSE(driver::kDeviceKind.counts_bytes) << "a result may be a key";
}

}  // namespace
