// docs/devices/accelerator.md, a third time: the numbers of its tables against the model's transcription and the driver's.
#include <cstddef>

#include <gtest/gtest.h>

#include "devices/accelerator/commands.h"
#include "devices/accelerator/links.h"
#include "devices/accelerator/registers.h"
#include "drivers/accelerator/command.h"
#include "drivers/accelerator/links.h"
#include "drivers/accelerator/registers.h"

namespace {

namespace model = barter::devices::accelerator;
namespace driver = barter::drivers::accelerator;

template <class Model, class Driver>
void expect_register(std::uint32_t at, std::size_t bits) {
  EXPECT_EQ(Model::kOffset, at);
  EXPECT_EQ(Driver::kOffset, at);
  EXPECT_EQ(sizeof(typename Model::Word) * 8, bits);
  EXPECT_EQ(sizeof(typename Driver::Word) * 8, bits);
}

void expect_at(std::uint32_t model, std::uint32_t driver, std::uint32_t at) {
  EXPECT_EQ(model, at);
  EXPECT_EQ(driver, at);
}

// All bits of a field, in its register.
template <class R, class F>
constexpr std::uint64_t mask(F) {
  return F::template mask<typename R::Word>();
}

TEST(AcceleratorRegisters, Section2) {
  expect_register<model::MemoryBytes, driver::MemorySize>(0x008, 64);
  expect_register<model::WindowBytes, driver::WindowSize>(0x010, 64);
  expect_register<model::Engines, driver::EngineCounts>(0x018, 32);
  EXPECT_EQ(model::kLayout.control, 0x020u);
  EXPECT_EQ(driver::kDeviceKind.control, 0x020u);
  EXPECT_EQ(model::kLayout.status, 0x024u);
  EXPECT_EQ(driver::kDeviceKind.status, 0x024u);
  expect_register<model::WindowBase, driver::WindowBaseRegister>(0x028, 64);
  expect_register<model::TableRoot, driver::TableRootRegister>(0x030, 64);
  expect_register<model::Invalidate, driver::InvalidateRegister>(0x044, 32);
  expect_register<model::Links, driver::LinkPortCount>(0x01c, 32);
  expect_register<model::Unit, driver::UnitRegister>(0x050, 64);
  EXPECT_EQ(model::kLayout.version, 0x00010002u);
  EXPECT_EQ(model::FaultAddress::kOffset, 0x038u);
  EXPECT_EQ(model::Fault::kOffset, 0x040u);
  EXPECT_EQ(model::kLayout.scratch, 0x048u);
  EXPECT_EQ(model::kLayout.identity, 0x43415842u);
  EXPECT_EQ(driver::kDeviceKind.identity, 0x43415842u);
  EXPECT_EQ(model::kProcessingAccelerator, 0x120000u);
  EXPECT_EQ(driver::kDeviceKind.class_code, 0x120000u);
  EXPECT_EQ(model::kRegisterBarBytes, 65536u);
  EXPECT_EQ(driver::kDeviceKind.register_bytes, 65536u);
  EXPECT_FALSE(model::kLayout.has_reset);
  EXPECT_FALSE(model::kLayout.tells_cause);
  EXPECT_FALSE(driver::kDeviceKind.tells_cause);
}

TEST(AcceleratorRegisters, FieldsOfSection2) {
  EXPECT_EQ(mask<model::Engines>(model::Engines::copy), 0x000000ffu);
  EXPECT_EQ(mask<model::Engines>(model::Engines::compute), 0x0000ff00u);
  EXPECT_EQ(mask<model::Engines>(model::Engines::ring_log2), 0x001f0000u);
  EXPECT_EQ(mask<driver::EngineCounts>(driver::EngineCounts::copy_channels), 0x000000ffu);
  EXPECT_EQ(mask<driver::EngineCounts>(driver::EngineCounts::compute_channels), 0x0000ff00u);
  EXPECT_EQ(mask<driver::EngineCounts>(driver::EngineCounts::longest_ring_log2), 0x001f0000u);
  EXPECT_EQ(mask<model::Fault>(model::Fault::happened), 0x80000000u);
  EXPECT_EQ(mask<model::Fault>(model::Fault::was_write), 0x00000100u);
  EXPECT_EQ(mask<model::Fault>(model::Fault::channel), 0x000000ffu);
}

TEST(AcceleratorRegisters, ChannelsOfSection2) {
  constexpr const auto& kModel = model::kLayout;
  constexpr const auto& kDriver = driver::kDeviceKind;
  EXPECT_EQ(kModel.channels + 3 * kModel.channel_stride, 0x1180u);
  EXPECT_EQ(kDriver.place(3).value, 0x1180u);
  expect_at(kModel.ring_base, kDriver.channel.ring_base, 0x00);
  expect_at(kModel.completion_base, kDriver.channel.completion_base, 0x08);
  expect_register<model::Progress, driver::ProgressRegister>(0x10, 64);
  EXPECT_EQ(kModel.counter, 0x10u);
  EXPECT_TRUE(kModel.counter_is_setting);
  expect_at(kModel.ring_log2, kDriver.channel.ring_log2, 0x18);
  expect_at(kModel.channel_control, kDriver.channel.run, 0x1c);
  expect_at(kModel.channel_status, kDriver.channel.status, 0x20);
  expect_at(kModel.tail, kDriver.channel.tail, 0x24);
  expect_at(kModel.taken, kDriver.channel.taken, 0x28);
  expect_register<model::Requests, driver::RequestsRegister>(0x2c, 32);
  EXPECT_EQ(mask<model::Requests>(model::Requests::on), 1u);
  EXPECT_EQ(mask<driver::RequestsRegister>(driver::RequestsRegister::on), 1u);
  expect_register<model::Answer, driver::AnswerRegister>(0x30, 32);
  EXPECT_EQ(mask<model::Answer>(model::Answer::id), 0x0000ffffu);
  EXPECT_EQ(mask<driver::AnswerRegister>(driver::AnswerRegister::id), 0x0000ffffu);
  EXPECT_EQ(mask<model::Answer>(model::Answer::retry), 0x00010000u);
  EXPECT_EQ(mask<driver::AnswerRegister>(driver::AnswerRegister::retry), 0x00010000u);
  EXPECT_EQ(driver::kFirstWithRequests, 2u);
  EXPECT_EQ(kModel.ring_alignment, 4096u);
  EXPECT_EQ(mask<model::Progress>(model::Progress::on), 1u);
  EXPECT_EQ(mask<driver::ProgressRegister>(driver::ProgressRegister::on), 1u);
}

TEST(AcceleratorRegisters, Section3) {
  EXPECT_EQ(mask<model::DescriptorSpaces>(model::DescriptorSpaces::second), 0x0cu);
  EXPECT_EQ(mask<driver::SpacesWord>(driver::SpacesWord::second), 0x0cu);
  EXPECT_EQ(mask<model::DescriptorSpaces>(model::DescriptorSpaces::destination), 0x30u);
  EXPECT_EQ(mask<driver::SpacesWord>(driver::SpacesWord::destination), 0x30u);
  EXPECT_EQ(offsetof(model::Descriptor, source), 8u);
  EXPECT_EQ(offsetof(model::Descriptor, second), 16u);
  EXPECT_EQ(offsetof(model::Descriptor, destination), 24u);
  EXPECT_EQ(offsetof(model::Descriptor, count), 32u);
  EXPECT_EQ(offsetof(model::Descriptor, parameter), 40u);
  EXPECT_EQ(offsetof(driver::CommandFields, source), 8u);
  EXPECT_EQ(offsetof(driver::CommandFields, second), 16u);
  EXPECT_EQ(offsetof(driver::CommandFields, destination), 24u);
  EXPECT_EQ(offsetof(driver::CommandFields, count), 32u);
  EXPECT_EQ(offsetof(driver::CommandFields, parameter), 40u);
  constexpr int kOpcodes[] = {0x00, 0x01, 0x02, 0x10, 0x11, 0x12, 0x13, 0x14};
  constexpr model::Opcode kModel[] = {model::Opcode::nop,    model::Opcode::copy,    model::Opcode::fill,
                                      model::Opcode::add,    model::Opcode::sum,     model::Opcode::histogram,
                                      model::Opcode::filter, model::Opcode::checksum};
  constexpr driver::Opcode kDriver[] = {driver::Opcode::nop,    driver::Opcode::copy,    driver::Opcode::fill,
                                        driver::Opcode::add,    driver::Opcode::sum,     driver::Opcode::histogram,
                                        driver::Opcode::filter, driver::Opcode::checksum};
  for (int index = 0; index < 8; ++index) {
    EXPECT_EQ(static_cast<int>(kModel[index]), kOpcodes[index]);
    EXPECT_EQ(static_cast<int>(kDriver[index]), kOpcodes[index]);
  }
  EXPECT_EQ(static_cast<int>(model::CommandStatus::not_granted), 7);
  EXPECT_EQ(driver::kDeviceKind.last_status, 7u);
  EXPECT_EQ(driver::kDeviceKind.last_request, 9u);
  EXPECT_EQ(model::kWantsReadable, 8u);
  EXPECT_EQ(model::kWantsWritable, 9u);
  EXPECT_TRUE(
      (driver::CommandResult{.status = 8}.is_page_request() && !driver::CommandResult{.status = 8}.wants_to_write()));
  EXPECT_TRUE(
      (driver::CommandResult{.status = 9}.is_page_request() && driver::CommandResult{.status = 9}.wants_to_write()));
  EXPECT_FALSE(driver::CommandResult{.status = 7}.is_page_request());
  EXPECT_FALSE(driver::kDeviceKind.counts_bytes);
}

TEST(AcceleratorRegisters, Section4) {
  EXPECT_EQ(mask<driver::PageEntry>(driver::PageEntry::valid), 0x01u);
  EXPECT_EQ(mask<driver::PageEntry>(driver::PageEntry::writable), 0x02u);
  EXPECT_EQ(mask<driver::PageEntry>(driver::PageEntry::on_bus), 0x04u);
  EXPECT_EQ(mask<driver::PageEntry>(driver::PageEntry::leaf), 0x80u);
  EXPECT_EQ(mask<driver::PageEntry>(driver::PageEntry::page), 0x000ffffffffff000u);
  EXPECT_EQ(mask<model::TableRoot>(model::TableRoot::valid), 0x01u);
  EXPECT_EQ(mask<model::TableRoot>(model::TableRoot::on_bus), 0x04u);
  EXPECT_EQ(mask<model::TableRoot>(model::TableRoot::address_4k), 0x000ffffffffff000u);
}

TEST(AcceleratorRegisters, Section5) {
  EXPECT_EQ(model::kLinks + 7 * model::kLinkStride, 0x9c0u);
  EXPECT_EQ(driver::link_place(7).value, 0x9c0u);
  EXPECT_EQ(model::kGrants + 7 * model::kGrantsStride + 127 * model::kGrantStride, 0x7ff0u);
  EXPECT_EQ(driver::grant_place(7, 127).value, 0x7ff0u);
  EXPECT_EQ(model::kMaxLinks, 8u);
  EXPECT_EQ(driver::kMostLinks, 8u);
  EXPECT_EQ(model::kGrantsOfLink, 128u);
  EXPECT_EQ(driver::kGrantsOfLink, 128u);
  expect_register<model::LinkStatus, driver::LinkStatusRegister>(0x00, 32);
  expect_register<model::LinkControl, driver::LinkControlRegister>(0x04, 32);
  expect_register<model::PeerUnit, driver::PeerUnitRegister>(0x08, 64);
  expect_register<model::PeerBytes, driver::PeerSize>(0x10, 64);
  expect_register<model::PeerLink, driver::PeerPortRegister>(0x18, 32);
  expect_register<model::LinkReadBytes, driver::LinkReadCounter>(0x20, 64);
  expect_register<model::LinkWrittenBytes, driver::LinkWrittenCounter>(0x28, 64);
  expect_register<model::GrantStart, driver::GrantStartRegister>(0x0, 64);
  expect_register<model::GrantSize, driver::GrantSizeRegister>(0x8, 64);
  EXPECT_EQ(mask<model::Links>(model::Links::ports), 0x0000000fu);
  EXPECT_EQ(mask<driver::LinkPortCount>(driver::LinkPortCount::ports), 0x0000000fu);
  EXPECT_EQ(mask<model::LinkStatus>(model::LinkStatus::up), 1u);
  EXPECT_EQ(mask<model::LinkStatus>(model::LinkStatus::wired), 2u);
  EXPECT_EQ(mask<driver::LinkStatusRegister>(driver::LinkStatusRegister::up), 1u);
  EXPECT_EQ(mask<driver::LinkStatusRegister>(driver::LinkStatusRegister::wired), 2u);
  EXPECT_EQ(mask<model::LinkControl>(model::LinkControl::enable), 1u);
  EXPECT_EQ(mask<driver::LinkControlRegister>(driver::LinkControlRegister::enable), 1u);
  EXPECT_EQ(mask<model::GrantSize>(model::GrantSize::write), 0x8000000000000000u);
  EXPECT_EQ(mask<model::GrantSize>(model::GrantSize::read), 0x4000000000000000u);
  EXPECT_EQ(mask<model::GrantSize>(model::GrantSize::bytes), 0x0000ffffffffffffu);
  EXPECT_EQ(mask<driver::GrantSizeRegister>(driver::GrantSizeRegister::write), 0x8000000000000000u);
  EXPECT_EQ(mask<driver::GrantSizeRegister>(driver::GrantSizeRegister::read), 0x4000000000000000u);
  EXPECT_EQ(mask<driver::GrantSizeRegister>(driver::GrantSizeRegister::bytes), 0x0000ffffffffffffu);
  // Link n is n + 1 in bits 51:48 of a local address.
  EXPECT_EQ(model::kLinkAddressShift, 48u);
  EXPECT_EQ(driver::Links::address(7, 0x123).value, 0x0008000000000123u);
  EXPECT_EQ(driver::Operand::link({0x0008000000000123}).space(), driver::Operand::Space::local);
  EXPECT_EQ(static_cast<int>(model::CommandStatus::link_down), 6);
  EXPECT_EQ(driver::describe_status(6), "a link was not up (status 6)");
}

}  // namespace
