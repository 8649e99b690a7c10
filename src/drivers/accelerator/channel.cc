#include "drivers/accelerator/channel.h"

#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace barter::drivers::accelerator {
namespace {

// How many bytes a command reads or writes at each operand, and whether the operand is used at all.
struct Extents {
  std::uint64_t source = 0;
  std::uint64_t second = 0;
  std::uint64_t destination = 0;
  bool destination_is_optional = false;
};

std::optional<Extents> extents_of(const Command& command) {
  constexpr std::uint64_t kMostWords = ~std::uint64_t{0} / 4;
  const std::uint64_t count = command.count;
  switch (command.opcode) {
    case Opcode::nop:
      return Extents{};
    case Opcode::copy:
      return Extents{.source = count, .destination = count};
    case Opcode::fill:
      if (count % 8 != 0) return std::nullopt;
      return Extents{.destination = count};
    case Opcode::add:
      if (count > kMostWords) return std::nullopt;
      return Extents{.source = count * 4, .second = count * 4, .destination = count * 4};
    case Opcode::sum:
      if (count > kMostWords) return std::nullopt;
      return Extents{.source = count * 4, .destination = 8, .destination_is_optional = true};
    case Opcode::histogram:
      return Extents{.source = count, .destination = std::uint64_t{256} * 8};
    case Opcode::checksum:
      return Extents{.source = count, .destination = 8, .destination_is_optional = true};
    case Opcode::filter: {
      const std::uint64_t width = count & 0xffffffff;
      const std::uint64_t height = count >> 32;
      if (width == 0 || width > 16384 || command.parameter > 15) return std::nullopt;
      return Extents{.source = width * height, .second = 18, .destination = width * height};
    }
  }
  return std::nullopt;
}

// The alignment that the words of each operand ask for.
std::uint64_t source_alignment(Opcode opcode) { return opcode == Opcode::add || opcode == Opcode::sum ? 4 : 1; }
std::uint64_t second_alignment(Opcode opcode) { return opcode == Opcode::add ? 4 : opcode == Opcode::filter ? 2 : 1; }
std::uint64_t destination_alignment(Opcode opcode) {
  if (opcode == Opcode::copy || opcode == Opcode::filter) return 1;
  return opcode == Opcode::add ? 4 : 8;
}

// Where the memory ends in which a local address lies: the own one, or that behind a link, whose size only its owner knows.
std::uint64_t end_of(std::uint64_t address, const AcceleratorFacts& facts) {
  const std::uint64_t link = address >> kLinkAddressShift;
  if (link == 0) return facts.memory_bytes;
  return link <= facts.link_ports ? (link + 1) << kLinkAddressShift : 0;
}

bool fits(Operand operand, std::uint64_t bytes, std::uint64_t alignment, const AcceleratorFacts& facts) {
  if (operand.space() == Operand::Space::none) return bytes == 0;
  if (bytes == 0 || operand.address() % alignment != 0) return false;
  const std::uint64_t end = operand.space() == Operand::Space::local            ? end_of(operand.address(), facts)
                            : operand.space() == Operand::Space::virtual_memory ? std::uint64_t{1} << 48
                                                                                : ~std::uint64_t{0};
  return operand.address() <= end && bytes <= end - operand.address();
}

}  // namespace

std::string describe_status(std::uint8_t status) {
  constexpr const char* kWords[] = {"done",
                                    "invalid opcode",
                                    "invalid field in the command",
                                    "a local address outside the memory",
                                    "page fault",
                                    "the bus did not carry out a request",
                                    "a link was not up",
                                    "the accelerator behind a link did not grant the access",
                                    "a page to read is wanted",
                                    "a page to write is wanted"};
  if (status < std::size(kWords)) return fmt::format("{} (status {})", kWords[status], status);
  return fmt::format("status {}, which no specification has", status);
}

Result<void> ChannelImpl::start() {
  write(*device_.registers, ProgressRegister::from(counter()).with(ProgressRegister::on, true), ring_.place());
  if (device_.facts.makes_page_requests)
    write(*device_.registers, RequestsRegister{}.with(RequestsRegister::on, ring_.takes_requests()), ring_.place());
  return ring_.start();
}

Result<void> ChannelImpl::check(const Command& command) const {
  const auto refuse = [&](ErrorCode code, std::string why) {
    return fail(device_.error(code, "submitting a command to the accelerator", std::move(why)));
  };
  const bool is_compute = command.opcode >= Opcode::add;
  if (command.opcode != Opcode::nop && is_compute != (kind_ == Kind::compute))
    return refuse(ErrorCode::invalid_argument, "the channel is of the other kind");
  const auto extents = extents_of(command);
  if (!extents || (command.count == 0 && command.opcode != Opcode::nop))
    return refuse(ErrorCode::invalid_argument, fmt::format("a count of {:#x} or parameter of {:#x} is not possible",
                                                           command.count, command.parameter));
  const bool has_destination = !extents->destination_is_optional || command.destination.space() != Operand::Space::none;
  const AcceleratorFacts& facts = device_.facts;
  if (!fits(command.source, extents->source, source_alignment(command.opcode), facts) ||
      !fits(command.second, extents->second, second_alignment(command.opcode), facts) ||
      !fits(command.destination, has_destination ? extents->destination : 0, destination_alignment(command.opcode),
            facts))
    return refuse(ErrorCode::out_of_range,
                  "an operand is missing, is not used, is not aligned, or ends outside its memory");
  return {};
}

Result<void> ChannelImpl::submit(const Command& command) {
  if (!ring_.has_room()) return fail(ring_.no_room());
  if (auto checked = check(command); !checked) return checked;
  ring_.push(CommandFields{
      .word = ring_.open(command.tag)
                  .word.with(ring_device::CommandWord::opcode, static_cast<std::uint32_t>(command.opcode))
                  .with(ring_device::CommandWord::interrupt, command.interrupt)
                  .raw,
      .spaces = SpacesWord{}
                    .with(SpacesWord::source, static_cast<std::uint32_t>(command.source.space()))
                    .with(SpacesWord::second, static_cast<std::uint32_t>(command.second.space()))
                    .with(SpacesWord::destination, static_cast<std::uint32_t>(command.destination.space()))
                    .raw,
      .source = command.source.address(),
      .second = command.second.address(),
      .destination = command.destination.address(),
      .count = command.count,
      .parameter = command.parameter,
  });
  return {};
}

Result<std::size_t> ChannelImpl::poll(std::span<CommandResult> results) {
  return ring_.poll(results, [&] { return progress().value_or(0); });
}

// What the page tables say by now is there for whoever sees the answer (docs/memory-order.md, rule 1).
Result<void> ChannelImpl::answer(PageAnswer answer) {
  const auto id = ring_.take_request();
  if (!id)
    return fail(device_.error(ErrorCode::invalid_argument, "answering the accelerator", "no command waits for a page"));
  write(*device_.registers,
        AnswerRegister{}.with(AnswerRegister::id, *id).with(AnswerRegister::retry, answer == PageAnswer::there),
        ring_.place());
  return {};
}

std::optional<std::uint64_t> ChannelImpl::progress() {
  if (counter() < device_.window_base || counter() - device_.window_base >= device_.facts.window_bytes)
    return std::nullopt;
  return device_.memory->load64({counter() - device_.window_base});
}

}  // namespace barter::drivers::accelerator
