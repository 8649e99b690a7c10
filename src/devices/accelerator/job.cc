#include "devices/accelerator/job.h"

#include <algorithm>
#include <cstring>

namespace barter::devices::accelerator {
namespace {

// What an opcode uses, and how its operands lie.
struct Shape {
  bool source = false;
  bool second = false;
  bool destination = false;
  bool destination_may_be_none = false;
  std::uint64_t source_alignment = 1;
  std::uint64_t destination_alignment = 1;
  std::uint64_t count_unit_bytes = 1;
};

Shape shape_of(Opcode opcode) {
  switch (opcode) {
    case Opcode::copy:
      return {.source = true, .destination = true};
    case Opcode::fill:
      return {.destination = true, .destination_alignment = 8};
    case Opcode::add:
      return {.source = true,
              .second = true,
              .destination = true,
              .source_alignment = 4,
              .destination_alignment = 4,
              .count_unit_bytes = 4};
    case Opcode::sum:
      return {.source = true,
              .destination = true,
              .destination_may_be_none = true,
              .source_alignment = 4,
              .destination_alignment = 8,
              .count_unit_bytes = 4};
    case Opcode::histogram:
      return {.source = true, .destination = true, .destination_alignment = 8};
    case Opcode::filter:
      return {.source = true, .second = true, .destination = true};
    case Opcode::checksum:
      return {.source = true, .destination = true, .destination_may_be_none = true, .destination_alignment = 8};
    case Opcode::nop:
      break;
  }
  return {};
}

bool is_for(Opcode opcode, Engine engine) {
  switch (opcode) {
    case Opcode::nop:
      return true;
    case Opcode::copy:
    case Opcode::fill:
      return engine == Engine::copy;
    case Opcode::add:
    case Opcode::sum:
    case Opcode::histogram:
    case Opcode::filter:
    case Opcode::checksum:
      return engine == Engine::compute;
  }
  return false;
}

bool fits(bool used, bool may_be_none, Space space) {
  return used ? may_be_none || space != Space::none : space == Space::none;
}

}  // namespace

Job::Job(MemoryAccess& memory, Engine engine)
    : memory_(memory),
      engine_(engine),
      scratch_(std::make_unique<std::array<std::array<std::byte, kBlockBytes>, 3>>()) {}

CommandStatus Job::check_operands() const {
  const Shape shape = shape_of(opcode_);
  const DescriptorSpaces spaces = descriptor_.spaces;
  const bool is_possible =
      (descriptor_.dword0.raw & DescriptorDword0::kReserved) == 0 && (spaces.raw & DescriptorSpaces::kReserved) == 0 &&
      descriptor_.reserved[0] == 0 && descriptor_.reserved[1] == 0 &&
      fits(shape.source, false, spaces.get(DescriptorSpaces::source)) &&
      fits(shape.second, false, spaces.get(DescriptorSpaces::second)) &&
      fits(shape.destination, shape.destination_may_be_none, spaces.get(DescriptorSpaces::destination)) &&
      descriptor_.source % shape.source_alignment == 0 && (opcode_ != Opcode::add || descriptor_.second % 4 == 0) &&
      (opcode_ != Opcode::filter || descriptor_.second % 2 == 0) &&
      descriptor_.destination % shape.destination_alignment == 0 &&
      descriptor_.count <= ~std::uint64_t{0} / shape.count_unit_bytes &&
      (opcode_ != Opcode::fill || descriptor_.count % 8 == 0);
  return is_possible ? CommandStatus::done : CommandStatus::invalid_field;
}

CommandStatus Job::begin(const Descriptor& descriptor) {
  descriptor_ = descriptor;
  total_bytes_ = done_bytes_ = result_ = 0;
  is_finished_ = false;
  opcode_ = static_cast<Opcode>(descriptor.dword0.get(DescriptorDword0::opcode));
  if (!is_for(opcode_, engine_)) return CommandStatus::invalid_opcode;
  if (const auto checked = check_operands(); checked != CommandStatus::done) return checked;
  if (opcode_ == Opcode::nop) {
    is_finished_ = true;
    return CommandStatus::done;
  }
  if (descriptor.count == 0) return CommandStatus::invalid_field;
  source_ = {.space = descriptor.spaces.get(DescriptorSpaces::source), .start = descriptor.source};
  second_ = {.space = descriptor.spaces.get(DescriptorSpaces::second), .start = descriptor.second};
  destination_ = {.space = descriptor.spaces.get(DescriptorSpaces::destination), .start = descriptor.destination};
  total_bytes_ = descriptor.count * shape_of(opcode_).count_unit_bytes;
  counts_ = {};
  checksum_ = Checksum(descriptor.parameter);
  return opcode_ == Opcode::filter ? begin_filter() : CommandStatus::done;
}

CommandStatus Job::begin_filter() {
  width_ = descriptor_.count & 0xffffffff;
  const std::uint64_t height = descriptor_.count >> 32;
  total_bytes_ = width_ * height;
  if (width_ == 0 || height == 0 || width_ > kWidestPicture || descriptor_.parameter > 15)
    return CommandStatus::invalid_field;
  weights_.shift = static_cast<unsigned>(descriptor_.parameter);
  return memory_.read(second_, 0, std::as_writable_bytes(std::span(weights_.weight)));
}

CommandStatus Job::advance(std::uint64_t budget_bytes) {
  CommandStatus worked = CommandStatus::done;
  if (opcode_ == Opcode::copy)
    worked = copy_some(budget_bytes);
  else if (opcode_ == Opcode::fill)
    worked = fill_some(budget_bytes);
  else if (opcode_ == Opcode::filter)
    worked = filter_some(budget_bytes);
  else
    worked = compute_some(budget_bytes);
  if (worked != CommandStatus::done || done_bytes_ != total_bytes_) return worked;
  worked = finish();
  is_finished_ = worked == CommandStatus::done;
  return worked;
}

CommandStatus Job::copy_some(std::uint64_t budget_bytes) {
  std::uint64_t left = std::min(budget_bytes, total_bytes_ - done_bytes_);
  while (left != 0) {
    const auto moved = memory_.copy(source_, destination_, done_bytes_, left);
    if (!moved) return moved.error();
    done_bytes_ += *moved;
    left -= *moved;
  }
  return CommandStatus::done;
}

CommandStatus Job::fill_some(std::uint64_t budget_bytes) {
  const std::size_t block = std::min<std::uint64_t>(kBlockBytes, total_bytes_);
  const std::span<std::byte> pattern = std::span((*scratch_)[2]).first(block);
  for (std::size_t at = 0; at < block; at += sizeof descriptor_.parameter)
    std::memcpy(pattern.data() + at, &descriptor_.parameter, sizeof descriptor_.parameter);
  const std::uint64_t end = done_bytes_ + std::min(budget_bytes, total_bytes_ - done_bytes_);
  while (done_bytes_ < end) {
    const auto part = pattern.first(std::min<std::uint64_t>(block, total_bytes_ - done_bytes_));
    if (const auto written = memory_.write(destination_, done_bytes_, part); written != CommandStatus::done)
      return written;
    done_bytes_ += part.size();
  }
  return CommandStatus::done;
}

CommandStatus Job::compute_some(std::uint64_t budget_bytes) {
  const std::uint64_t end = done_bytes_ + std::min(budget_bytes, total_bytes_ - done_bytes_);
  while (done_bytes_ < end) {
    const std::size_t bytes = std::min<std::uint64_t>(kBlockBytes, total_bytes_ - done_bytes_);
    const auto worked = opcode_ == Opcode::add ? add_block(bytes) : compute_block(bytes);
    if (worked != CommandStatus::done) return worked;
  }
  return CommandStatus::done;
}

CommandStatus Job::compute_block(std::size_t bytes) {
  const auto source = memory_.bytes(source_, done_bytes_, std::span((*scratch_)[0]).first(bytes));
  if (!source) return source.error();
  if (opcode_ == Opcode::sum)
    result_ += sum_words(*source, bytes / 4);
  else if (opcode_ == Opcode::histogram)
    count_bytes({*source, bytes}, counts_);
  else
    checksum_.add({*source, bytes});
  done_bytes_ += bytes;
  return CommandStatus::done;
}

// No more than what lies in one piece of the destination, so that all of it is written or none: a source that it writes over must
// not be read again after a part of it.
CommandStatus Job::add_block(std::size_t bytes) {
  const auto target = memory_.piece(destination_, done_bytes_, bytes, Access::write);
  if (!target) return target.error();
  bytes = target->bytes;
  const auto source = memory_.bytes(source_, done_bytes_, std::span((*scratch_)[0]).first(bytes));
  if (!source) return source.error();
  const auto second = memory_.bytes(second_, done_bytes_, std::span((*scratch_)[1]).first(bytes));
  if (!second) return second.error();
  if (!target->local.empty()) {
    add_words(*source, *second, target->local.data(), bytes / 4);
  } else {
    const std::span<std::byte> block = std::span((*scratch_)[2]).first(bytes);
    add_words(*source, *second, block.data(), bytes / 4);
    if (const auto written = memory_.write(destination_, done_bytes_, block); written != CommandStatus::done)
      return written;
  }
  done_bytes_ += bytes;
  return CommandStatus::done;
}

CommandStatus Job::filter_some(std::uint64_t budget_bytes) {
  const std::uint64_t height = total_bytes_ / width_;
  const std::uint64_t end = done_bytes_ + std::min(budget_bytes, total_bytes_ - done_bytes_);
  while (done_bytes_ < end) {
    const std::uint64_t row = done_bytes_ / width_;
    const std::array<std::uint64_t, 3> lines = {row == 0 ? 0 : row - 1, row, row + 1 == height ? row : row + 1};
    std::array<const std::byte*, 3> at{};
    for (std::size_t line = 0; line < 3; ++line) {
      const auto scratch = std::span((*scratch_)[0]).subspan(line * kWidestPicture, width_);
      const auto found = memory_.bytes(source_, lines[line] * width_, scratch);
      if (!found) return found.error();
      at[line] = *found;
    }
    const std::span<std::byte> into = std::span((*scratch_)[2]).first(width_);
    filter_row(weights_, {at[0], at[1], at[2]}, into);
    if (const auto written = memory_.write(destination_, done_bytes_, into); written != CommandStatus::done)
      return written;
    done_bytes_ += width_;
  }
  return CommandStatus::done;
}

CommandStatus Job::finish() {
  if (opcode_ == Opcode::histogram) return memory_.write(destination_, 0, std::as_bytes(std::span(counts_)));
  if (opcode_ == Opcode::checksum) result_ = checksum_.value();
  const bool has_result = opcode_ == Opcode::sum || opcode_ == Opcode::checksum;
  if (!has_result || destination_.space == Space::none) return CommandStatus::done;
  return memory_.write(destination_, 0, std::as_bytes(std::span(&result_, 1)));
}

}  // namespace barter::devices::accelerator
